"""The contract of a stage. A study has two, each with its own Optuna study: the search, and the full training of the
best trials. A stage defines its trials and what each of them trains; the driver runs both stages in the same way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from orchestrator.policies.policy import Policy
from orchestrator.study.folder import RunFolder
from orchestrator.study.ladder import Rung
from orchestrator.study.plan import Plan, with_values
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState


class Stage(ABC):
    """The parts of a stage that the driver uses; `kind` is its name for programs."""

    kind: ClassVar[Literal["search", "full"]]

    def __init__(self, plan: Plan, state: StudyState, rungs: Sequence[Rung], policy: Policy) -> None:
        self.plan, self.state, self.rungs, self.policy = plan, state, rungs, policy

    @abstractmethod
    def new_trial(self, index: int | None) -> TrialState | None:
        """A new trial: the one at `index` in the list, or one of the sampler (None where it has no more)."""

    @abstractmethod
    def config(self, trial: TrialState) -> Mapping[str, Any]:
        """A trial's configuration on its rung, as plain data; `ConfigError` where it is not valid."""

    def until_epoch(self, trial: TrialState) -> int:
        """The last epoch of the rung that a trial works towards."""
        return self.rungs[trial.rung - 1].epochs

    def entered_at(self, trial: TrialState) -> int:
        """The epoch after which a trial entered its rung."""
        return self.rungs[trial.rung - 2].epochs if trial.rung > 1 else 0


def in_folder(plain: Mapping[str, Any], folder: RunFolder, name: str) -> Mapping[str, Any]:
    """The configuration with a run's own name and folder."""
    own = {
        "experiment_name": name,
        "checkpoint.dir": str(folder.checkpoints),
        "checkpoint.resume": None,
        "checkpoint.save": True,
        "logging.dir": str(folder.path),
        "logging.save_metrics": True,
    }
    return with_values(plain, own)
