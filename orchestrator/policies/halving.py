"""Asynchronous successive halving that pauses: a trial rests at a rung and goes on from its checkpoint later.

After Li et al., A System for Massively Parallel Hyperparameter Tuning (MLSys 2020), arXiv:1810.05934. There, as in
most tools, what is not promoted at once is lost or left; here every trial rests with its checkpoint and is taken up
as soon as it is among the best 1/η of its rung, also long after others have passed it by.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from orchestrator.policies.policy import Climb, Continue, Step, Supply, Verdict, at_top, unfinished
from orchestrator.policies.reasons import an, early_words, ordinal, rung_words
from orchestrator.study.ladder import Rung
from orchestrator.study.lots import NOBODY_SPARED, Trust
from orchestrator.study.state import PAUSED, StudyState, TrialState
from trainer.api import Metric


@dataclass
class HalvingPolicy:
    """Goes on with what stands between rungs, then with the best that may climb, from the top down; else asks.

    `reduction_factor` is η: of n results on a rung the best floor(n / η) go on.
    """

    metric: Metric
    rungs: Sequence[Rung]
    supply: Supply
    reduction_factor: float
    threshold: float | None = None
    trust: Trust = NOBODY_SPARED

    def next(self, state: StudyState, busy: Collection[int]) -> Step | None:
        trial = unfinished(state, busy)
        if trial is not None:
            return Continue(trial.number, self.rungs[trial.rung - 1].epochs)
        for rung in range(len(self.rungs) - 1, 0, -1):
            standing = self.standing(state, rung)
            for place, trial in enumerate(standing[: self.places(len(standing))], start=1):
                if trial.status == PAUSED and trial.rung == rung and trial.number not in busy:
                    return Climb(trial.number, self._goes_on(trial, rung, place, standing))
        return self.supply.next(state)

    def judge(self, trial: TrialState, state: StudyState, stopped_because: str = "") -> Verdict:
        rung = trial.rung
        if rung not in trial.results:
            return Verdict("go_on")
        if rung == len(self.rungs):
            return at_top(self.metric, self.rungs, trial, self.threshold, stopped_because)
        standing = self.standing(state, rung)
        place = 1 + next(i for i, other in enumerate(standing) if other is trial)
        if place <= self.places(len(standing)):
            return Verdict("climb", self._goes_on(trial, rung, place, standing))
        spared = self.trust.spares(trial.number, rung)
        if spared:
            return Verdict("climb", self._goes_on(trial, rung, place, standing, f" as {an(spared)}"), spared=spared)
        words = f"{self._compared(rung, place, standing)}{early_words(trial, stopped_because)}"
        return Verdict("pause", f"at {rung_words(self.rungs, rung)}: {words}")

    def standing(self, state: StudyState, rung: int) -> list[TrialState]:
        """Every trial with a result on a rung, wherever it is now, best first; of equals the earlier."""
        sign = -1.0 if self.metric.direction == "maximize" else 1.0
        there = [t for t in state.standing() if t.origin is None and rung in t.results]
        return sorted(there, key=lambda t: (sign * t.results[rung], t.number))

    def places(self, results: int) -> int:
        """How many of so many results on a rung may go on."""
        return math.floor(results / self.reduction_factor + 1e-9)

    def learn(self, trial: TrialState, epoch: int, value: float) -> None:
        """Nothing to remember: the state holds it all."""

    def recall(self, trial: TrialState) -> None:
        """As above."""

    def closed(self, trial: TrialState) -> None:
        """Nothing to forget."""

    def _goes_on(self, trial: TrialState, rung: int, place: int, standing: Sequence[TrialState], role: str = "") -> str:
        where = rung_words(self.rungs, rung + 1)
        return f"goes on{role} to {where}: at rung {rung} {self._compared(rung, place, standing)}"

    def _compared(self, rung: int, place: int, standing: Sequence[TrialState]) -> str:
        value = standing[place - 1].results[rung]
        words = f"{self.metric.label} {value:.4g} is {ordinal(place)} of {len(standing)}"
        going = self.places(len(standing))
        if not going:
            return f"{words}, and of every {self.reduction_factor:g} one goes on"
        return f"{words}, the cut is {standing[going - 1].results[rung]:.4g}"
