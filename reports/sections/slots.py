"""The work of the slots over time, and how their time was used."""

from __future__ import annotations

from reports.figures_slots import MAX_BARS, slot_gantt
from reports.formatting import duration, joined, plural, shorten
from reports.markup import Section, esc, paragraph, table
from reports.record import StudyRecord
from reports.render import figure_html
from reports.slot_time import KINDS, slot_intervals, time_shares, time_span

MAX_SLOTS = 100
_HEADS = ("Slot", "In use", "Training", "Evaluation", "Checkpoints", "Opening trials", "Lost or failed", "Idle")
_COLUMNS = ("training", "evaluation", "checkpoint", "opening", "lost", "idle")


def section(record: StudyRecord) -> Section | None:
    """The slots over time and their utilisation; None if the study recorded no times."""
    intervals = slot_intervals(record)
    if not intervals:
        return None
    by_slot = time_shares(intervals)
    begin, end = time_span(intervals)
    caption = (
        "Training has the colour of its rung; the numbers are trial numbers. “In use” is the time of training and "
        "evaluation. Checkpoints are written during training; the time shown is what a slot waited for them. Opening a "
        "trial means loading its data and model. Lost work led to no evaluation. The time between two calls is left "
        "out."
    )
    if len(intervals) > MAX_BARS:
        caption += (
            f" Of {len(intervals):,} intervals, neighbours are drawn as one, in the colour of the first one's rung."
        )
    rows = [
        (
            esc(shorten(slot, 40)),
            f"<strong>{by_kind['training'] + by_kind['evaluation']:.0%}</strong>",
            *(f"{by_kind[kind]:.0%}" for kind in _COLUMNS),
        )
        for slot, by_kind in list(by_slot.items())[:MAX_SLOTS]
    ]
    alt = f"The work of {plural(len(by_slot), 'slot')} over {duration(end - begin)}."
    return Section(
        "Slots over time",
        paragraph(_usage(by_slot, end - begin), _retries(record))
        + figure_html("slots", slot_gantt(record, intervals), alt, caption)
        + table("Use of slot time", _HEADS, rows, numeric=range(1, len(_HEADS))),
    )


def _usage(by_slot: dict[str, dict[str, float]], seconds: float) -> str:
    """The share of time in which the slots were in use, and the use of the rest."""
    mean = {kind: sum(by_kind[kind] for by_kind in by_slot.values()) / len(by_slot) for kind in (*KINDS, "idle")}
    used = mean["training"] + mean["evaluation"]
    names = {"checkpoint": "waiting for checkpoints", "opening": "opening trials", "lost": "lost work", "idle": "idle"}
    rest = [f"{name} {mean[kind]:.0%}" for kind, name in names.items() if mean[kind] >= 0.005]
    slots = plural(len(by_slot), "slot")
    sentence = f"{slots} trained or evaluated for <strong>{used:.0%}</strong> of {duration(seconds)}"
    return f"{sentence} (the rest: {joined(rest)})." if rest else f"{sentence}."


def _retries(record: StudyRecord) -> str:
    count = sum(trial.retries for trial in record.trials)
    return f"After a lost process, {plural(count, 'slice')} continued from a checkpoint." if count else ""
