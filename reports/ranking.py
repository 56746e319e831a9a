"""Who leads: the order of trials, the best, the median, and the curves of a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.record import Evaluation, Metric, StudyRecord, Trial
from reports.words import finite


@dataclass(frozen=True)
class Curve:
    """The primary metric of one trial by epoch, or of one promoted run where `run` is its folder.

    `rungs` are those on which the evaluations were made.
    """

    trial_id: int
    run: str
    epochs: Sequence[int]
    values: Sequence[float]
    rungs: Sequence[int] = ()


def gain(metric: Metric, value: float) -> float:
    """The value with its sign turned so that more is better."""
    return value if metric.direction == "maximize" else -value


def _order(metric: Metric, trial: Trial) -> tuple[int, int, float, int]:
    value = finite(trial.value)
    if trial.status == "failed":
        return (2, 0, 0.0, trial.trial_id)
    if value is None:
        return (1, 0, 0.0, trial.trial_id)
    return (0, -trial.rung, -gain(metric, value), trial.trial_id)


def ordered(record: StudyRecord) -> list[Trial]:
    """All trials: by highest rung, then value; those without a value after them, failed ones last."""
    return sorted(record.trials, key=lambda trial: _order(record.metric, trial))


def ranked(record: StudyRecord) -> list[Trial]:
    """The trials that compete, best first: with a value, not failed, and not a copy of another."""
    return [
        trial
        for trial in ordered(record)
        if trial.status != "failed" and trial.duplicate_of is None and finite(trial.value) is not None
    ]


def peers(competitors: Sequence[Trial]) -> list[Trial]:
    """The trials on the leader's rung where there are three or more, else all: what a median is taken of."""
    same = [trial for trial in competitors if trial.rung == competitors[0].rung]
    return same if len(same) >= 3 else list(competitors)


def median_value(competitors: Sequence[Trial]) -> float:
    """The median of the values of one trial or more."""
    return middle_of([value for trial in competitors if (value := finite(trial.value)) is not None])


def middle_of(values: Sequence[float]) -> float:
    """The median of one number or more."""
    line, middle = sorted(values), len(values) // 2
    return line[middle] if len(line) % 2 else (line[middle - 1] + line[middle]) / 2


def metric_of(metric: Metric, evaluation: Evaluation) -> float | None:
    """The primary metric of an evaluation. A loss is recorded by the worker as the validation loss."""
    value = evaluation.metrics.get(metric.name)
    if value is None and metric.name == "loss":
        value = evaluation.metrics.get("val_loss")
    return finite(value)


def curves(record: StudyRecord) -> list[Curve]:
    """One curve per trial and promoted run with a finite value, in that order; an epoch stands once."""
    points: dict[tuple[int, str], dict[int, tuple[float, int]]] = {}
    for evaluation in record.evaluations:
        value = metric_of(record.metric, evaluation)
        if value is not None:
            points.setdefault((evaluation.trial_id, evaluation.run), {})[evaluation.epoch] = (value, evaluation.rung)
    return [
        Curve(
            trial_id,
            run,
            epochs := sorted(by_epoch),
            [by_epoch[epoch][0] for epoch in epochs],
            [by_epoch[epoch][1] for epoch in epochs],
        )
        for (trial_id, run), by_epoch in sorted(points.items())
    ]


def thinned(length: int, limit: int) -> list[int]:
    """Indices of at most `limit` of `length` items, evenly spread, the first and the last among them."""
    if length <= limit:
        return list(range(length))
    step = (length - 1) / (limit - 1)
    return [round(index * step) for index in range(limit)]


def central_range(values: Sequence[float], tail: float = 0.05) -> tuple[float, float]:
    """Low and high ends of the values but for the outermost `tail` on either side: outliers hide nothing."""
    line = sorted(values)
    cut = int(len(line) * tail)
    return line[cut], line[-1 - cut]
