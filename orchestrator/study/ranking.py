"""What is better: the one place that orders trials and draws the line between those that continue and the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable

from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState
from trainer.api import Metric


def on_rung(state: StudyState, rung: int, metric: Metric) -> list[TrialState]:
    """Every trial with a result of its own on a rung, wherever it is now, best first; of equal ones the earlier."""
    there = (trial for trial in state.standing() if trial.origin is None and rung in trial.results)
    return sorted(there, key=lambda trial: (metric.key(trial.results[rung]), trial.number))


def places(results: int, reduction_factor: float) -> int:
    """How many of so many results on a rung continue: the best ⌊n / η⌋."""
    return math.floor(results / reduction_factor + 1e-9)


def place_of(trial: TrialState, metric: Metric) -> tuple[int, float, int]:
    """What trials with a result are ranked by, the best first: the highest rung, the best value, the earliest."""
    return -trial.reached, metric.key(trial.result), trial.number


def ranked(state: StudyState, metric: Metric) -> list[TrialState]:
    """Trials that may be promoted, best first: by the highest rung reached, then the value there, then the number.

    Failed trials and those that missed the user's threshold are not among them.
    """
    return sorted((t for t in state.in_order() if t.is_ranked), key=lambda trial: place_of(trial, metric))


def best_value(trial: TrialState, metric: Metric, after_epoch: int = 0) -> float | None:
    """The best evaluation of a trial after an epoch; of all its evaluations where there is none after it."""
    later = [one.value for epoch, one in trial.evaluations.items() if epoch > after_epoch]
    return best_of(later or trial.values.values(), metric)


def best_of(values: Iterable[float], metric: Metric) -> float | None:
    return min(values, key=metric.key, default=None)
