"""The two stages of a study, each with its own Optuna study: the search, and the full training of the best.

A stage says which runs there are and what each trains; the driver runs either in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator.policies.build import full_policy, search_policy, teach
from orchestrator.policies.policy import Policy
from orchestrator.samplers.sampler import Sampler, make_sampler
from orchestrator.storage.optuna_study import Study
from orchestrator.study.ladder import Rung
from orchestrator.study.plan import Plan
from orchestrator.study.state import SAMPLED, StudyState, TrialState
from trainer.api import ConfigError


@dataclass(frozen=True)
class FullRun:
    """One promoted run: a trial of the search, trained in full under one seed; from fresh weights, or from those of
    the checkpoint `weights`, a path as seen from the study's folder."""

    trial_id: int
    seed_index: int
    overrides: Mapping[str, Any]
    weights: str = ""


class Stage(Protocol):
    """What the driver must know of a stage."""

    plan: Plan
    study: Study
    state: StudyState
    policy: Policy
    noun: str

    @property
    def rungs(self) -> Sequence[Rung]: ...

    def new_trial(self, index: int | None) -> TrialState | None:
        """For a place in the list, or chosen by the sampler; None where that has nothing left."""
        ...

    def folder(self, trial: TrialState) -> Path: ...
    def config(self, trial: TrialState) -> Mapping[str, Any]:
        """What a trial trains on its rung, as plain data; `ConfigError` where that is no configuration."""
        ...

    def epochs(self, trial: TrialState) -> int:
        """Where the rung ends that a trial works towards."""
        ...

    def entered_at(self, trial: TrialState) -> int:
        """The epoch after which a trial entered its rung."""
        ...


def inside(path: str, folder: Path) -> str:
    """A path as seen from the study's folder, so that the folder may be moved; one outside it as it is."""
    return str(Path(path).relative_to(folder)) if path and Path(path).is_relative_to(folder) else path


def _in_folder(plain: Mapping[str, Any], folder: Path, name: str) -> Mapping[str, Any]:
    """A configuration with the keys of the run itself."""
    checkpoint = {**plain["checkpoint"], "dir": str(folder / "checkpoints"), "resume": None, "save": True}
    logging = {**plain["logging"], "dir": str(folder), "save_metrics": True}
    return {**plain, "experiment_name": name, "checkpoint": checkpoint, "logging": logging}


class SearchStage:
    """Trials on the budget."""

    noun = "trial"

    def __init__(self, plan: Plan, study: Study) -> None:
        self.plan, self.study = plan, study
        self.state = study.load()
        self.rungs: Sequence[Rung] = plan.rungs
        self.policy: Policy = search_policy(plan)
        maximize = plan.metric.direction == "maximize"
        self._sampler: Sampler | None = (
            make_sampler(plan.sampler, plan.space, plan.seed, maximize, plan.values_of) if plan.space else None
        )
        teach(self.policy, self.state)

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
        except ConfigError as error:  # each value is valid by itself; together they break a constraint
            problem = error.problems[0]
            trial.failure_kind, trial.failure_line = error.kind, f"{problem.where}: {problem.what}"
        return trial

    def folder(self, trial: TrialState) -> Path:
        return self.plan.folder / trial.folder

    def config(self, trial: TrialState) -> Mapping[str, Any]:
        plain = self.plan.search_plain(trial.overrides, self.plan.rungs[trial.rung - 1])
        return _in_folder(plain, self.folder(trial), f"{self.plan.name}-{trial.trial_id:04d}")

    def epochs(self, trial: TrialState) -> int:
        return self.plan.rungs[trial.rung - 1].epochs

    def entered_at(self, trial: TrialState) -> int:
        return self.plan.start_of(trial.rung)


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
        self.rungs: Sequence[Rung] = (plan.full,)
        self.policy: Policy = full_policy(plan, offset + len(fresh))
        teach(self.policy, self.state)

    def new_trial(self, index: int | None) -> TrialState:
        assert index is not None, "promoted runs are a list"
        run = self._runs[index]
        trial = TrialState(-1, index, run.overrides)
        trial.source_trial, trial.seed_index, trial.weights = run.trial_id, run.seed_index, run.weights
        return trial

    def folder(self, trial: TrialState) -> Path:
        return self.plan.folder / trial.folder

    def config(self, trial: TrialState) -> Mapping[str, Any]:
        folder = self.folder(trial)
        plain = self.plan.full_config(trial.overrides, trial.seed_index).plain()
        if trial.weights:
            plain["checkpoint"]["weights"] = str(self.plan.folder / trial.weights)
        return _in_folder(plain, folder, f"{self.plan.name}-full-{folder.name}")

    def epochs(self, trial: TrialState) -> int:
        return self.plan.full.epochs

    def entered_at(self, trial: TrialState) -> int:
        return 0
