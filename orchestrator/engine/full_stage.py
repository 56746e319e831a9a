"""The stage of full training: the best trials at full budget, each with one or more seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.engine.stage import Stage, in_folder
from orchestrator.policies.table import full_policy
from orchestrator.study.plan import Plan, with_values
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState


@dataclass(frozen=True)
class Promotion:
    """One promoted run: the configuration of a trial of the search, trained in full with one seed. It starts from new
    weights, or from the checkpoint `weights`, a path relative to the study's folder."""

    trial_id: int
    seed_index: int
    overrides: Mapping[str, Any]
    weights: str = ""


class FullStage(Stage):
    """The promoted runs as a `Stage`: those of earlier calls, and the new ones among `promotions`."""

    kind = "full"

    def __init__(self, plan: Plan, state: StudyState, promotions: Sequence[Promotion]) -> None:
        known = {(trial.source_trial, trial.seed_index): trial.index for trial in state.in_order()}
        fresh = [run for run in promotions if (run.trial_id, run.seed_index) not in known]
        first = 1 + max(known.values(), default=-1)
        self._promotions = dict(enumerate(fresh, start=first))
        super().__init__(plan, state, (plan.full,), full_policy(plan, first + len(fresh)))

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
