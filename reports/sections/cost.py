"""The cost of the study, and what it saved by stopping weak trials."""

from __future__ import annotations

from reports.figures_time import cost_bars
from reports.formatting import MISSING, duration, plural, shorten
from reports.markup import Section, chip, esc, paragraph, table
from reports.record import StudyRecord
from reports.render import figure_html
from reports.rungs import rung_words
from reports.spending import Spent, by_rung, by_status, full_runs, saved

MAX_RUNGS = 20
HEADS = ("Trials", "Epochs", "Images seen", "Time")


def section(record: StudyRecord) -> Section | None:
    """Epochs, images and time by status and by rung; None before the first epoch."""
    spent, avoided, promoted = by_status(record), saved(record), full_runs(record)
    total = sum(spent.values(), Spent())
    if not total.epochs:
        return None
    rows = [(chip(status), *_cells(part)) for status, part in spent.items()]
    rows.append(("all trials", *_cells(total)))
    if avoided.epochs:
        rows.append(("saved by stopping trials", *_cells(avoided)))
    if promoted.trials:
        rows.append(("promoted runs", *_cells(promoted)))
    parts = [paragraph(_summary(total, avoided))]
    if avoided.epochs:
        share = avoided.epochs / (total.epochs + avoided.epochs)
        alt = f"{share:.0%} of the epochs needed to train every trial to the end were saved."
        caption = "Copies of trials cost nothing; failed and running trials count with what they have spent."
        parts.append(figure_html("cost", cost_bars(spent, avoided), alt, caption))
    parts.append(table("By status", ("", *HEADS), rows, numeric=(1, 2, 3, 4)))
    rungs = by_rung(record)
    if len(rungs) > 1:
        rung_rows = [
            (f"{rung}", esc(shorten(rung_words(record, rung), 60).replace(" ", "\u00a0")) or MISSING, *_cells(part))
            for rung, part in list(rungs.items())[:MAX_RUNGS]
        ]
        parts.append(table("By rung", ("Rung", "Budget", *HEADS), rung_rows, numeric=(2, 3, 4, 5)))
    return Section("Cost", "\n".join(parts))


def _summary(total: Spent, avoided: Spent) -> str:
    time = f" in {duration(total.seconds)} of slot time" if total.seconds else ""
    sentence = f"The search trained {plural(total.epochs, 'epoch')}{time}."
    if not avoided.epochs:
        return sentence
    whole = total + avoided
    costs = [f"{whole.epochs:,} epochs"]
    if whole.images:
        costs.append(f"{whole.images:,} images instead of {total.images:,}")
    if whole.seconds and avoided.seconds is not None:
        costs.append(f"about {duration(whole.seconds)}")
    return (
        f"{sentence} Training every trial to the end would have taken {', '.join(costs)}: "
        f"<strong>{avoided.epochs / whole.epochs:.0%} of the epochs were saved.</strong>"
    )


def _cells(spent: Spent) -> tuple[str, str, str, str]:
    return (
        f"{spent.trials:,}",
        f"{spent.epochs:,}",
        f"{spent.images:,}" if spent.images else MISSING,
        MISSING if spent.seconds is None else duration(spent.seconds),
    )
