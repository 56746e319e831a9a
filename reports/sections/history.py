"""How the search went, trial by trial."""

from __future__ import annotations

from reports.figures import optimisation_history
from reports.figures_time import ended_at, history_over_time
from reports.markup import Section, esc
from reports.record import StudyRecord
from reports.render import figure_html
from reports.words import finite, plural


def section(record: StudyRecord) -> Section | None:
    """The optimisation history; None before the first value."""
    valued = sum(finite(trial.value) is not None for trial in record.trials)
    if not valued:
        return None
    label, hidden = record.metric.label, len(record.trials) - valued
    better = "higher" if record.metric.direction == "maximize" else "lower"
    caption = f"{esc(label)} of each trial at the last evaluation on its highest rung; {better} is better."
    if hidden:
        caption += f" {plural(hidden, 'trial')} without a value not drawn."
    alt = f"{label} of {plural(valued, 'trial')} in the order in which they were asked for."
    plots = figure_html("history", optimisation_history(record), alt, caption)
    if ended_at(record):
        over = f"The same over time: each trial where its last evaluation ended. {_slots(record)}"
        alt = f"{label} of the trials over the time of the study."
        plots += figure_html("history-time", history_over_time(record), alt, over.strip())
    return Section("How the search went", plots)


def _slots(record: StudyRecord) -> str:
    """How study time becomes slot time, which is GPU time where slots have one."""
    count = len({evaluation.slot for evaluation in record.evaluations if evaluation.slot})
    return f"An hour of study time is {count} hours of slots." if count > 1 else ""
