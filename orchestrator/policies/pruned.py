"""Trials train one after another to the end of the budget, unless one of Optuna's pruners ends them.

With no pruner every trial climbs the whole ladder at once. Optuna's pruners compare values of one epoch, so they
serve where there is a single rung.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from orchestrator.policies.policy import Continue, Step, Supply, Verdict, at_top, unfinished
from orchestrator.policies.reasons import an, ordinal, rung_words
from orchestrator.study.ladder import Rung
from orchestrator.study.lots import NOBODY_SPARED, Trust
from orchestrator.study.state import COMPLETED, StudyState, TrialState
from trainer.api import Metric


class Oracle(Protocol):
    """What a pruner is asked through; `orchestrator.policies.pruners.PrunerOracle` is Optuna's."""

    remembers: bool

    def value(self, number: int, epoch: int, value: float) -> None: ...
    def completed(self, number: int, value: float) -> None: ...
    def dropped(self, number: int) -> None: ...
    def should_prune(self, number: int) -> bool: ...


@dataclass
class PrunedPolicy:
    """Interrupted trials first, then new ones; a trial under way keeps its slot."""

    metric: Metric
    rungs: Sequence[Rung]
    supply: Supply
    pruner: Mapping[str, Any]
    oracle: Oracle | None
    threshold: float | None = None
    trust: Trust = NOBODY_SPARED

    def next(self, state: StudyState, busy: Collection[int]) -> Step | None:
        trial = unfinished(state, busy)
        if trial is not None:
            rung_end = self.rungs[trial.rung - 1].epochs
            # A pruner is asked after every evaluation; without one, nothing is decided before the rung's end.
            return Continue(trial.number, rung_end if self.oracle is None else min(trial.epochs + 1, rung_end))
        return self.supply.next(state)

    def learn(self, trial: TrialState, epoch: int, value: float) -> None:
        if self.oracle is not None:
            self.oracle.value(trial.number, epoch, value)

    def recall(self, trial: TrialState) -> None:
        if self.oracle is not None and self.oracle.remembers:
            self.oracle.should_prune(trial.number)

    def closed(self, trial: TrialState) -> None:
        if self.oracle is not None:
            if trial.status == COMPLETED and trial.value is not None:
                self.oracle.completed(trial.number, trial.value)
            else:
                self.oracle.dropped(trial.number)

    def judge(self, trial: TrialState, state: StudyState, stopped_because: str = "") -> Verdict:
        if trial.rung in trial.results:
            return self._at_rung(trial, stopped_because)
        if self.oracle is None or trial.rung in trial.spared:
            return Verdict("go_on")
        if self.oracle.should_prune(trial.number):
            why = f"at epoch {trial.epochs} of {self.rungs[trial.rung - 1].epochs}: {self._why(trial, state)}"
            if self.trust.audited(trial.number):
                return Verdict("go_on", f"goes on as {an('audit')}, or would be pruned {why}", spared="audit")
            return Verdict("prune", why)
        return Verdict("go_on")

    def _at_rung(self, trial: TrialState, stopped_because: str) -> Verdict:
        if trial.rung == len(self.rungs):
            return at_top(self.metric, self.rungs, trial, self.threshold, stopped_because)
        value = trial.results[trial.rung]
        return Verdict("climb", f"passes {rung_words(self.rungs, trial.rung)}: {self.metric.label} {value:.4g}")

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
