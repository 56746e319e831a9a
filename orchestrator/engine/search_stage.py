"""The stage of the search: trials on the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.engine.stage import Stage, in_folder
from orchestrator.policies.table import search_policy
from orchestrator.samplers.sampler import Sampler
from orchestrator.samplers.table import make_sampler
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState
from orchestrator.study.trial import SAMPLED, TrialState
from trainer.api import ConfigError


class SearchStage(Stage):
    """The search as a `Stage`: listed trials first, then those of the sampler."""

    kind = "search"

    def __init__(self, plan: Plan, state: StudyState) -> None:
        super().__init__(plan, state, plan.rungs, search_policy(plan))
        self._sampler: Sampler | None = (
            make_sampler(plan.sampler, plan.space, plan.seed, plan.metric, plan.values_of) if plan.space else None
        )

    def new_trial(self, index: int | None) -> TrialState | None:
        if index is not None:
            overrides = self.plan.trials[index]
            return TrialState(-1, index, overrides, self.plan.config_key(overrides))
        assert self._sampler is not None, "a policy asks a sampler only where there is a search space"
        proposed = self._sampler.propose(len(self.state.trials), self.state)
        if proposed is None:
            return None
        trial = TrialState(-1, SAMPLED, dict(proposed))
        try:
            trial.config_key = self.plan.config_key(proposed)
        except ConfigError as error:  # each value is valid, but the combination breaks a constraint
            problem = error.problems[0]
            trial.failure_kind, trial.failure_line = error.kind, f"{problem.where}: {problem.what}"
        return trial

    def config(self, trial: TrialState) -> Mapping[str, Any]:
        plain = self.plan.search_plain(trial.overrides, self.plan.rungs[trial.rung - 1])
        return in_folder(plain, self.plan.files.run(trial), f"{self.plan.name}-{trial.trial_id:04d}")
