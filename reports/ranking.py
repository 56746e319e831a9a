"""The order of trials, and the median value of the best."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from reports.formatting import finite
from reports.record import Metric, StudyRecord, Trial


def _sort_key(metric: Metric, trial: Trial) -> tuple[int, int, float, int]:
    value = finite(trial.value)
    if trial.status == "failed":
        return (2, 0, 0.0, trial.trial_id)
    if value is None:
        return (1, 0, 0.0, trial.trial_id)
    return (0, -trial.rung, metric.sort_key(value), trial.trial_id)


def ordered(record: StudyRecord) -> list[Trial]:
    """All trials, best first: by highest rung, then by value; then those without a value, then failed ones."""
    return sorted(record.trials, key=lambda trial: _sort_key(record.metric, trial))


def ranked(record: StudyRecord) -> list[Trial]:
    """The trials that compete, best first: those with a value that did not fail and are not copies."""
    return [
        trial
        for trial in ordered(record)
        if trial.status != "failed" and trial.duplicate_of is None and finite(trial.value) is not None
    ]


def best_first(metric: Metric, values: Sequence[float]) -> list[int]:
    """The positions of the values, the best value first, equal values in the order given."""
    return sorted(range(len(values)), key=lambda place: metric.sort_key(values[place]))


def peers(competitors: Sequence[Trial]) -> list[Trial]:
    """The trials on the rung of the best one if there are at least three, else all."""
    same = [trial for trial in competitors if trial.rung == competitors[0].rung]
    return same if len(same) >= 3 else list(competitors)


def median_value(competitors: Sequence[Trial]) -> float:
    """The median value of at least one trial with a value."""
    return median(value for trial in competitors if (value := finite(trial.value)) is not None)
