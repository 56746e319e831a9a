"""What ran where, and how well the slots were used."""

from __future__ import annotations

from reports.figures_time import MAX_BARS, slot_gantt
from reports.markup import Section, esc, paragraph, table
from reports.record import StudyRecord
from reports.render import figure_html
from reports.spending import utilisation, works
from reports.words import duration, plural, shorten

MAX_SLOTS = 100


def section(record: StudyRecord) -> Section | None:
    """The slots over time and their utilisation; None where the study did not keep the times."""
    found = works(record)
    if not found:
        return None
    shares = utilisation(found)
    mean = sum(shares.values()) / len(shares)
    retries = sum(trial.retries for trial in record.trials)
    span = max(work.end for work in found) - min(work.begin for work in found)
    caption = (
        "Each bar is one trial on one rung, from the start of its first epoch to its last evaluation; the number is "
        "the trial's. Between the bars a slot was idle, loading data, or lost its process. The time between two calls "
        "is left out."
    )
    if len(found) > MAX_BARS:
        caption += f" Of {len(found):,} bars, neighbours are drawn as one."
    rows = [
        (
            esc(shorten(slot, 40)),
            f"{sum(work.slot == slot for work in found):,}",
            duration(sum(work.end - work.begin for work in found if work.slot == slot)),
            f"{share:.0%}",
        )
        for slot, share in list(shares.items())[:MAX_SLOTS]
    ]
    words = f"{plural(len(shares), 'slot')} worked for {mean:.0%} of {duration(span)}"
    again = f" {plural(retries, 'slice')} lost a process and went on from a checkpoint." if retries else ""
    alt = f"Trials on {plural(len(shares), 'slot')} over {duration(span)}."
    return Section(
        "Slots over time",
        paragraph(f"{words}.{again}")
        + figure_html("slots", slot_gantt(record, found), alt, caption)
        + table("Use of the slots", ("Slot", "Pieces of work", "Training", "Use"), rows, numeric=(1, 2, 3)),
    )
