"""One rung, and one of Optuna's pruners after every evaluation. With no pruner every trial trains to the end."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from orchestrator.ladder import Rung
from orchestrator.policy.policy import Ask, Continue, Verdict
from orchestrator.state import COMPLETED, PAUSED, RUNNING, StudyState, TrialState
from trainer.api import Metric


class Oracle(Protocol):
    """What a pruner is asked through; `orchestrator.search.PrunerOracle` is Optuna's."""

    def value(self, number: int, epoch: int, value: float) -> None: ...
    def completed(self, number: int, value: float) -> None: ...
    def dropped(self, number: int) -> None: ...
    def should_prune(self, number: int) -> bool: ...


@dataclass
class PrunedPolicy:
    """Trials in the order of the list; interrupted ones first. `n_trials` is the whole study's.

    `same_as` tells which place in the list holds the same configuration as an earlier one: it waits until
    that one's result can be taken over.
    """

    metric: Metric
    rung: Rung
    n_trials: int
    pruner: Mapping[str, Any]
    oracle: Oracle | None
    threshold: float | None
    same_as: Mapping[int, int] = field(default_factory=dict)

    def next(self, state: StudyState, busy: Collection[int]) -> Continue | Ask | None:
        for trial in state.with_status(RUNNING, PAUSED):
            if trial.number not in busy:
                return Continue(trial.number, min(trial.epochs + 1, self.rung.epochs))
        asked = state.asked()
        unfinished = {trial.index for trial in state.in_order() if not trial.is_final}
        for index in range(self.n_trials):
            if index not in asked and self.same_as.get(index) not in unfinished:
                return Ask(index)
        return None

    def learn(self, trial: TrialState, epoch: int, value: float) -> None:
        if self.oracle is not None:
            self.oracle.value(trial.number, epoch, value)

    def closed(self, trial: TrialState) -> None:
        if self.oracle is not None:
            if trial.status == COMPLETED and trial.value is not None:
                self.oracle.completed(trial.number, trial.value)
            else:
                self.oracle.dropped(trial.number)

    def judge(self, trial: TrialState, state: StudyState, stopped_because: str = "") -> Verdict:
        value = trial.value
        assert value is not None, "a slice ends with an evaluation"
        if stopped_because or trial.epochs >= self.rung.epochs:
            return self._at_the_end(trial, value, stopped_because)
        if self.oracle is not None and self.oracle.should_prune(trial.number):
            return Verdict("prune", f"at epoch {trial.epochs} of {self.rung.epochs}: {self._why(trial, state)}")
        return Verdict("go_on")

    def _at_the_end(self, trial: TrialState, value: float, stopped_because: str) -> Verdict:
        where = f"rung 1 of 1 ({self.rung.words()})"
        if self.threshold is not None and self.metric.better(self.threshold, value):
            side = "below" if self.metric.direction == "maximize" else "above"
            words = f"{self.metric.label} {value:.4g} is {side} the threshold {self.threshold:.4g}"
            return Verdict("prune", f"at {where}: {words}")
        early = f"; stopped early at epoch {trial.epochs}: {stopped_because}" if stopped_because else ""
        return Verdict("complete", f"at {where}: {self.metric.label} {value:.4g}{early}")

    def _why(self, trial: TrialState, state: StudyState) -> str:
        """The trial's place among those seen at the same epoch, and the cut where the pruner has one."""
        epoch, value = trial.epochs, trial.values[trial.epochs]
        seen = [other.values[epoch] for other in state.in_order() if other.origin is None and epoch in other.values]
        place = 1 + sum(self.metric.better(other, value) for other in seen)
        words = f"{self.metric.label} {value:.4g} is {ordinal(place)} of {len(seen)}"
        cut = self._cut(epoch, state)
        return f"{words}, {cut}" if cut else f"{words} ({self.pruner['name']} pruner)"

    def _cut(self, epoch: int, state: StudyState) -> str:
        done = [t.values[epoch] for t in state.with_status(COMPLETED) if t.origin is None and epoch in t.values]
        if not done or self.pruner["name"] not in ("median", "percentile"):
            return ""
        share = float(self.pruner.get("percentile", 50.0))
        cut = float(np.percentile(done, 100.0 - share if self.metric.direction == "maximize" else share))
        return f"the {'median' if share == 50.0 else 'cut'} is {cut:.4g}" if math.isfinite(cut) else ""


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st …"""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
