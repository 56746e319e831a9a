"""The ranking of trials: the one place that orders them by the metric and decides how many of them continue."""

from __future__ import annotations

import math
from collections.abc import Iterable

from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState
from trainer.api import Metric


def on_rung(state: StudyState, rung: int, metric: Metric) -> list[TrialState]:
    """Every trial with a result of its own on a rung, whatever its status now; best first, ties by trial number."""
    there = (trial for trial in state.standing() if trial.origin is None and rung in trial.results)
    return sorted(there, key=lambda trial: (metric.key(trial.results[rung]), trial.number))


def places(results: int, reduction_factor: float) -> int:
    """How many trials continue from a rung with n results: the best ⌊n / η⌋."""
    return math.floor(results / reduction_factor + 1e-9)


def place_of(trial: TrialState, metric: Metric) -> tuple[int, float, int]:
    """The sort key of a trial with a result: the highest rung first, then the best value, then the lowest number."""
    return -trial.reached, metric.key(trial.result), trial.number


def ranked(state: StudyState, metric: Metric) -> list[TrialState]:
    """Trials that may be promoted, best first; without failed trials and those that missed the user's threshold."""
    return sorted((t for t in state.in_order() if t.is_ranked), key=lambda trial: place_of(trial, metric))


def best_value(trial: TrialState, metric: Metric, after_epoch: int = 0) -> float | None:
    """The best value of a trial after an epoch; of all its evaluations where none is after that epoch."""
    later = [one.value for epoch, one in trial.evaluations.items() if epoch > after_epoch]
    return best_of(later or trial.values.values(), metric)


def best_of(values: Iterable[float], metric: Metric) -> float | None:
    return min(values, key=metric.key, default=None)
