"""What ran where, and what the slots' time went into."""

from __future__ import annotations

from reports.figures_slots import MAX_BARS, slot_gantt
from reports.markup import Section, esc, paragraph, table
from reports.record import StudyRecord
from reports.render import figure_html
from reports.slottime import KINDS, shares, span, stretches
from reports.words import duration, joined, plural, shorten

MAX_SLOTS = 100
_HEADS = ("Slot", "In use", "Training", "Evaluation", "Checkpoints", "Opening trials", "Lost or failed", "Idle")
_COLUMNS = ("training", "evaluation", "checkpoint", "opening", "lost", "idle")


def section(record: StudyRecord) -> Section | None:
    """The slots over time and their utilisation; None where the study did not keep the times."""
    found = stretches(record)
    if not found:
        return None
    by_slot = shares(found)
    begin, end = span(found)
    caption = (
        "Training has the colour of its rung; the numbers are the trials'. In use is the time that training and "
        "evaluation took. A slot waits for a checkpoint only as far as it could not be written beside the training. "
        "Opening a trial is loading its data and model. What is lost came to no evaluation. The time between two "
        "calls is left out."
    )
    if len(found) > MAX_BARS:
        caption += f" Of {len(found):,} stretches of time neighbours are drawn as one, coloured by their first rung."
    rows = [
        (
            esc(shorten(slot, 40)),
            f"<strong>{part['training'] + part['evaluation']:.0%}</strong>",
            *(f"{part[kind]:.0%}" for kind in _COLUMNS),
        )
        for slot, part in list(by_slot.items())[:MAX_SLOTS]
    ]
    alt = f"What {plural(len(by_slot), 'slot')} did over {duration(end - begin)}."
    return Section(
        "Slots over time",
        paragraph(_words(by_slot, end - begin), _retries(record))
        + figure_html("slots", slot_gantt(record, found), alt, caption)
        + table("What the slots' time went into", _HEADS, rows, numeric=range(1, len(_HEADS))),
    )


def _words(by_slot: dict[str, dict[str, float]], seconds: float) -> str:
    """How well the slots were used, and where the rest went."""
    mean = {kind: sum(part[kind] for part in by_slot.values()) / len(by_slot) for kind in (*KINDS, "idle")}
    used = mean["training"] + mean["evaluation"]
    names = {"checkpoint": "waiting for checkpoints", "opening": "opening trials", "lost": "what was lost or failed"}
    rest = [f"{words} {mean[kind]:.0%}" for kind, words in names.items() if mean[kind] >= 0.005]
    rest += [f"idle {mean['idle']:.0%}"] if mean["idle"] >= 0.005 else []
    slots = plural(len(by_slot), "slot")
    sentence = f"{slots} trained or evaluated for <strong>{used:.0%}</strong> of {duration(seconds)}"
    return f"{sentence} (the rest: {joined(rest)})." if rest else f"{sentence}."


def _retries(record: StudyRecord) -> str:
    count = sum(trial.retries for trial in record.trials)
    return f"{plural(count, 'slice')} lost a process and went on from a checkpoint." if count else ""
