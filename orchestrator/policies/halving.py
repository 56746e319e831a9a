"""Asynchronous successive halving that pauses: a trial rests at a rung and continues from its checkpoint later.

After Li et al., A System for Massively Parallel Hyperparameter Tuning (MLSys 2020), arXiv:1810.05934. There, as in
most tools, what is not promoted at once is lost; here every trial rests with its checkpoint and is resumed as soon as
it is among the best 1/η of its rung, also long after others have overtaken it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from orchestrator.policies.policy import Climb, Continue, PolicyKind, Setting, Step, Verdict, unfinished
from orchestrator.policies.reasons import an, at_top, checked_factor, early_words, ordinal, rung_words
from orchestrator.study.ranking import on_rung, places
from orchestrator.study.state import StudyState
from orchestrator.study.trial import PAUSED, TrialState

REDUCTION_FACTOR = 3


@dataclass
class HalvingPolicy:
    """Continues what is between two rungs, then resumes the best that may climb, from the top rung down; else asks.

    The option `reduction_factor` is η: of n results on a rung the best ⌊n / η⌋ continue.
    """

    setting: Setting

    @property
    def factor(self) -> float:
        return float(self.setting.options["reduction_factor"])

    def next(self, state: StudyState, busy: Collection[int]) -> Step | None:
        trial = unfinished(state, busy)
        if trial is not None:
            return Continue(trial.number, self.setting.rungs[trial.rung - 1].epochs)
        for rung in range(len(self.setting.rungs) - 1, 0, -1):
            ranked = on_rung(state, rung, self.setting.metric)
            for place, trial in enumerate(ranked[: places(len(ranked), self.factor)], start=1):
                if trial.status == PAUSED and trial.rung == rung and trial.number not in busy:
                    return Climb(trial.number, self._goes_on(rung, place, ranked))
        return self.setting.supply.next(state)

    def judge(self, trial: TrialState, state: StudyState, stopped_because: str = "") -> Verdict:
        rungs, rung = self.setting.rungs, trial.rung
        if rung not in trial.results:
            return Verdict("go_on")
        if rung == len(rungs):
            return at_top(self.setting, trial, stopped_because)
        ranked = on_rung(state, rung, self.setting.metric)
        place = 1 + next(i for i, other in enumerate(ranked) if other is trial)
        if place <= places(len(ranked), self.factor):
            return Verdict("climb", self._goes_on(rung, place, ranked))
        drawn = self.setting.draws.draw(trial.number, rung)
        if drawn:
            return Verdict("climb", self._goes_on(rung, place, ranked, f" as {an(drawn)}"), spared=drawn)
        reason = f"{self._compared(rung, place, ranked)}{early_words(trial, stopped_because)}"
        return Verdict("pause", f"at {rung_words(rungs, rung)}: {reason}")

    def _goes_on(self, rung: int, place: int, ranked: Sequence[TrialState], role: str = "") -> str:
        where = rung_words(self.setting.rungs, rung + 1)
        return f"goes on{role} to {where}: at rung {rung} {self._compared(rung, place, ranked)}"

    def _compared(self, rung: int, place: int, ranked: Sequence[TrialState]) -> str:
        value = ranked[place - 1].results[rung]
        compared = f"{self.setting.metric.label} {value:.4g} is {ordinal(place)} of {len(ranked)}"
        going = places(len(ranked), self.factor)
        if not going:
            return f"{compared}, and of every {self.factor:g} one goes on"
        return f"{compared}, the cut is {ranked[going - 1].results[rung]:.4g}"


KIND = PolicyKind(
    "a trial rests at a rung and continues when it is among the best there",
    HalvingPolicy,
    {"reduction_factor": REDUCTION_FACTOR},
    checked_factor,
    on_ladder=True,
    needs_ladder=True,
    draws=frozenset({"anchor", "audit"}),
)
