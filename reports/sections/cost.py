"""What the study cost, on what, and what it did not cost because the weak were stopped."""

from __future__ import annotations

from reports.figures_time import cost_bars
from reports.markup import Section, chip, esc, paragraph, table
from reports.record import StudyRecord
from reports.render import figure_html
from reports.rungs import rung_words
from reports.spending import Spent, by_rung, by_status, full_runs, saved
from reports.words import MISSING, duration, plural, shorten

MAX_RUNGS = 20
HEADS = ("Trials", "Epochs", "Images seen", "Time")


def section(record: StudyRecord) -> Section | None:
    """Epochs, images and time by status and by rung; None before the first epoch."""
    spent, more, promoted = by_status(record), saved(record), full_runs(record)
    total = sum(spent.values(), Spent())
    if not total.epochs:
        return None
    rows = [(chip(status), *_cells(part)) for status, part in spent.items()]
    rows.append(("all trials", *_cells(total)))
    if more.epochs:
        rows.append(("more for every trial to the end", *_cells(more)))
    if promoted.trials:
        rows.append(("promoted runs", *_cells(promoted)))
    parts = [paragraph(_words(total, more))]
    if more.epochs:
        share = more.epochs / (total.epochs + more.epochs)
        alt = f"{share:.0%} of the epochs that every trial to the end would have taken were saved."
        caption = "Of a copy nothing is counted, of a failed or running trial what it has spent."
        parts.append(figure_html("cost", cost_bars(spent, more), alt, caption))
    parts.append(table("By status", ("", *HEADS), rows, numeric=(1, 2, 3, 4)))
    rungs = by_rung(record)
    if len(rungs) > 1:
        lines = [
            (f"{rung}", esc(shorten(rung_words(record, rung), 60).replace(" ", "\u00a0")) or MISSING, *_cells(part))
            for rung, part in list(rungs.items())[:MAX_RUNGS]
        ]
        parts.append(table("By rung", ("Rung", "Budget", *HEADS), lines, numeric=(2, 3, 4, 5)))
    return Section("Cost", "\n".join(parts))


def _words(total: Spent, more: Spent) -> str:
    time = f" in {duration(total.seconds)} on the slots" if total.seconds else ""
    sentence = f"The search trained {plural(total.epochs, 'epoch')}{time}."
    if not more.epochs:
        return sentence
    whole = total + more
    took = [f"{whole.epochs:,} epochs"]
    if whole.images:
        took.append(f"{whole.images:,} images instead of {total.images:,}")
    if whole.seconds and more.seconds is not None:
        took.append(f"about {duration(whole.seconds)}")
    return (
        f"{sentence} To train every trial to the end would have taken {', '.join(took)}: "
        f"<strong>{more.epochs / whole.epochs:.0%} of the epochs were saved.</strong>"
    )


def _cells(spent: Spent) -> tuple[str, str, str, str]:
    return (
        f"{spent.trials:,}",
        f"{spent.epochs:,}",
        f"{spent.images:,}" if spent.images else MISSING,
        MISSING if spent.seconds is None else duration(spent.seconds),
    )
