"""Full training: the best trials at full budget, each in one or more seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.engine.stage import in_folder
from orchestrator.policies.policy import Policy
from orchestrator.policies.table import full_policy
from orchestrator.study.ladder import Rung
from orchestrator.study.plan import Plan, with_values
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState


@dataclass(frozen=True)
class Promotion:
    """One run to promote: a trial of the search, trained in full under one seed; from fresh weights, or from those of
    the checkpoint `weights`, a path as seen from the study's folder."""

    trial_id: int
    seed_index: int
    overrides: Mapping[str, Any]
    weights: str = ""


class FullStage:
    kind: Literal["search", "full"] = "full"

    def __init__(self, plan: Plan, state: StudyState, promotions: Sequence[Promotion]) -> None:
        self.plan, self.state = plan, state
        known = {(trial.source_trial, trial.seed_index): trial.index for trial in state.in_order()}
        fresh = [run for run in promotions if (run.trial_id, run.seed_index) not in known]
        first = 1 + max(known.values(), default=-1)
        self._promotions = dict(enumerate(fresh, start=first))
        self.rungs: Sequence[Rung] = (plan.full,)
        self.policy: Policy = full_policy(plan, first + len(fresh))

    def new_trial(self, index: int | None) -> TrialState:
        assert index is not None, "promoted runs are a list"
        run = self._promotions[index]
        return TrialState(
            -1, index, run.overrides, source_trial=run.trial_id, seed_index=run.seed_index, weights=run.weights
        )

    def config(self, trial: TrialState) -> Mapping[str, Any]:
        folder = self.plan.files.run(trial)
        plain: Mapping[str, Any] = self.plan.full_config(trial.overrides, trial.seed_index).plain()
        if trial.weights:
            plain = with_values(plain, {"checkpoint.weights": str(self.plan.folder / trial.weights)})
        return in_folder(plain, folder, f"{self.plan.name}-full-{folder.path.name}")

    def until_epoch(self, trial: TrialState) -> int:
        return self.plan.full.epochs

    def entered_at(self, trial: TrialState) -> int:
        return 0
