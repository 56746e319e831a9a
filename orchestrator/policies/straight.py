"""Every trial trains to the end, one after another; on a ladder it climbs from rung to rung without a stop."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from orchestrator.policies.policy import Continue, PolicyKind, Setting, Step, Verdict, unfinished
from orchestrator.policies.reasons import at_top, rung_words
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState


@dataclass
class StraightPolicy:
    """Interrupted trials first, then new ones; a trial that runs keeps its slot."""

    setting: Setting

    def next(self, state: StudyState, busy: Collection[int]) -> Step | None:
        trial = unfinished(state, busy)
        if trial is not None:
            return Continue(trial.number, self.setting.rungs[trial.rung - 1].epochs)
        return self.setting.supply.next(state)

    def judge(self, trial: TrialState, state: StudyState, stopped_because: str = "") -> Verdict:
        rungs, metric = self.setting.rungs, self.setting.metric
        if trial.rung not in trial.results:
            return Verdict("go_on")
        if trial.rung == len(rungs):
            return at_top(self.setting, trial, stopped_because)
        value = trial.results[trial.rung]
        return Verdict("climb", f"passes {rung_words(rungs, trial.rung)}: {metric.label} {value:.4g}")


KIND = PolicyKind("every trial trains to the end", StraightPolicy, on_ladder=True)
