"""The optimisation history."""

from __future__ import annotations

from reports.figures_history import optimisation_history
from reports.figures_time import ended_at, history_over_time
from reports.formatting import finite, plural
from reports.markup import Section, esc
from reports.record import StudyRecord
from reports.render import figure_html


def section(record: StudyRecord) -> Section | None:
    """The values by trial and over time; None before the first value."""
    valued = sum(finite(trial.value) is not None for trial in record.trials)
    if not valued:
        return None
    label, hidden = record.metric.label, len(record.trials) - valued
    better = "higher" if record.metric.maximize else "lower"
    caption = f"{esc(label)} of each trial at the last evaluation on its highest rung; {better} is better."
    if hidden:
        caption += f" {plural(hidden, 'trial')} without a value not shown."
    alt = f"{label} of {plural(valued, 'trial')} in the order of the trials."
    plots = figure_html("history", optimisation_history(record), alt, caption)
    if ended_at(record):
        caption = f"The same over time: each trial at the end of its last evaluation. {_slot_time(record)}"
        alt = f"{label} of the trials over the time of the study."
        plots += figure_html("history-time", history_over_time(record), alt, caption.strip())
    return Section("How the search went", plots)


def _slot_time(record: StudyRecord) -> str:
    """How much slot time an hour of study time is; slot time is GPU time if slots have GPUs."""
    count = len({evaluation.slot for evaluation in record.evaluations if evaluation.slot})
    return f"One hour of study time is {count} hours of slot time." if count > 1 else ""
