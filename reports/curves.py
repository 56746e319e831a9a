"""The learning curves of a record, and how long lists of values are reduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.formatting import finite
from reports.record import Evaluation, Metric, StudyRecord


@dataclass(frozen=True)
class Curve:
    """The primary metric by epoch of one trial, or of one promoted run if `run` names its folder.

    `rungs` are the rungs on which the evaluations were made.
    """

    trial_id: int
    run: str
    epochs: Sequence[int]
    values: Sequence[float]
    rungs: Sequence[int]

    def at(self, places: Sequence[int]) -> Curve:
        """The curve at some of its points only."""
        return replace(
            self,
            epochs=[self.epochs[place] for place in places],
            values=[self.values[place] for place in places],
            rungs=[self.rungs[place] for place in places],
        )


def metric_of(metric: Metric, evaluation: Evaluation) -> float | None:
    """The primary metric of an evaluation. Workers record the loss as the validation loss."""
    value = evaluation.metrics.get(metric.name)
    if value is None and metric.name == "loss":
        value = evaluation.metrics.get("val_loss")
    return finite(value)


def curves(record: StudyRecord) -> list[Curve]:
    """One curve per trial and promoted run with a finite value, in this order; each epoch occurs once."""
    points: dict[tuple[int, str], dict[int, tuple[float, int]]] = {}
    for evaluation in record.evaluations:
        value = metric_of(record.metric, evaluation)
        if value is not None:
            points.setdefault((evaluation.trial_id, evaluation.run), {})[evaluation.epoch] = (value, evaluation.rung)
    found: list[Curve] = []
    for (trial_id, run), by_epoch in sorted(points.items()):
        epochs = sorted(by_epoch)
        values, rungs = zip(*(by_epoch[epoch] for epoch in epochs), strict=True)
        found.append(Curve(trial_id, run, epochs, values, rungs))
    return found


def thinned(length: int, limit: int) -> list[int]:
    """Indices of at most `limit` of `length` items, evenly spread, including the first and the last."""
    if length <= limit:
        return list(range(length))
    step = (length - 1) / (limit - 1)
    return [round(index * step) for index in range(limit)]


def central_range(values: Sequence[float], tail: float = 0.05) -> tuple[float, float]:
    """The lowest and highest value after the outermost `tail` on either side is removed, against outliers."""
    in_order = sorted(values)
    cut = int(len(in_order) * tail)
    return in_order[cut], in_order[-1 - cut]
