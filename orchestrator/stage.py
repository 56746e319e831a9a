"""The two stages of a study, each with its own Optuna study: the search, and the full training of the best.

A stage says which runs there are and what each trains; the driver runs either in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator.plan import Plan
from orchestrator.policy.policy import Policy
from orchestrator.policy.pruned import PrunedPolicy
from orchestrator.request import dotted
from orchestrator.search import PrunerOracle
from orchestrator.state import StudyState, TrialState
from orchestrator.study import Study
from trainer.api import RunConfig


@dataclass(frozen=True)
class FullRun:
    """One promoted run: a trial of the search, trained in full under one seed."""

    trial_id: int
    seed_index: int
    overrides: Mapping[str, Any]


class Stage(Protocol):
    """What the driver must know of a stage."""

    plan: Plan
    study: Study
    state: StudyState
    policy: Policy
    noun: str

    def new_trial(self, index: int) -> TrialState: ...
    def label(self, trial: TrialState) -> str: ...
    def folder(self, trial: TrialState) -> Path: ...
    def config(self, trial: TrialState) -> RunConfig: ...
    def epochs(self, trial: TrialState) -> int: ...


def base_values(plan: Plan) -> Mapping[str, Any]:
    """What the searched keys are where a trial does not set them."""
    return {key: dotted(plan.base, key) for key in plan.parameters}


def inside(path: str, folder: Path) -> str:
    """A path as seen from the study's folder, so that the folder may be moved; one outside it as it is."""
    return str(Path(path).relative_to(folder)) if path and Path(path).is_relative_to(folder) else path


def _own_keys(folder: Path, name: str) -> dict[str, Any]:
    return {
        "experiment_name": name,
        "checkpoint.dir": str(folder / "checkpoints"),
        "checkpoint.resume": None,
        "checkpoint.save": True,
        "logging.dir": str(folder),
        "logging.save_metrics": True,
    }


class SearchStage:
    """Trials on the budget."""

    noun = "trial"

    def __init__(self, plan: Plan, study: Study) -> None:
        self.plan, self.study = plan, study
        self.state = study.load()
        maximize = plan.metric.direction == "maximize"
        oracle = None if plan.pruner["name"] == "none" else PrunerOracle(plan.pruner, maximize)
        planned = 0 if plan.closed else min(plan.n_trials, len(plan.trials))
        self.policy: Policy = PrunedPolicy(
            plan.metric, plan.top, planned, plan.pruner, oracle, plan.threshold, plan.duplicates
        )
        _teach(self.policy, self.state)

    def new_trial(self, index: int) -> TrialState:
        overrides = self.plan.trials[index]
        return TrialState(-1, index, overrides, self.plan.config_key(overrides))

    def label(self, trial: TrialState) -> str:
        return f"trial {trial.trial_id}"

    def folder(self, trial: TrialState) -> Path:
        return self.plan.folder / "trials" / f"{trial.trial_id:04d}"

    def config(self, trial: TrialState) -> RunConfig:
        own = _own_keys(self.folder(trial), f"{self.plan.name}-{trial.trial_id:04d}")
        return self.plan.search_config(trial.overrides, self.plan.rungs[trial.rung - 1], own)

    def epochs(self, trial: TrialState) -> int:
        return self.plan.rungs[trial.rung - 1].epochs


class FullStage:
    """The best trials at full budget, each in one or more seeds."""

    noun = "full training of trial"

    def __init__(self, plan: Plan, study: Study, runs: list[FullRun]) -> None:
        self.plan, self.study = plan, study
        self.state = study.load()
        known = {(trial.source_trial, trial.seed_index): trial.index for trial in self.state.in_order()}
        fresh = [run for run in runs if (run.trial_id, run.seed_index) not in known]
        offset = 1 + max(known.values(), default=-1)
        self._runs = dict(enumerate(fresh, start=offset))
        no_pruner = {"name": "none"}
        self.policy: Policy = PrunedPolicy(plan.metric, plan.full, offset + len(fresh), no_pruner, None, None)
        _teach(self.policy, self.state)

    def new_trial(self, index: int) -> TrialState:
        run = self._runs[index]
        trial = TrialState(-1, index, run.overrides)
        trial.source_trial, trial.seed_index = run.trial_id, run.seed_index
        return trial

    def label(self, trial: TrialState) -> str:
        return f"trial {trial.source_trial} in full, seed {trial.seed_index}"

    def folder(self, trial: TrialState) -> Path:
        return self.plan.folder / "full" / f"{trial.source_trial:04d}-seed{trial.seed_index}"

    def config(self, trial: TrialState) -> RunConfig:
        folder = self.folder(trial)
        own = _own_keys(folder, f"{self.plan.name}-full-{folder.name}")
        return self.plan.full_config(trial.overrides, trial.seed_index, own)

    def epochs(self, trial: TrialState) -> int:
        return self.plan.full.epochs


def _teach(policy: Policy, state: StudyState) -> None:
    """Tells a new policy what happened in earlier calls."""
    for trial in state.in_order():
        if trial.origin is None:
            for epoch in sorted(trial.values):
                policy.learn(trial, epoch, trial.values[epoch])
            if trial.is_final:
                policy.closed(trial)


__all__ = ["FullRun", "FullStage", "SearchStage", "Stage", "base_values", "inside"]
