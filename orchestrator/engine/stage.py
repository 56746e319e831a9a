"""The contract of a stage. A study has two, each with its own Optuna study: the search, and the full training of the
best trials. A stage says which runs there are and what each trains; the driver runs either in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from orchestrator.policies.policy import Policy
from orchestrator.study.folder import RunFolder
from orchestrator.study.ladder import Rung
from orchestrator.study.plan import Plan, with_values
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState


class Stage(Protocol):
    """What the driver must know of a stage."""

    kind: Literal["search", "full"]
    plan: Plan
    state: StudyState
    policy: Policy

    @property
    def rungs(self) -> Sequence[Rung]: ...

    def new_trial(self, index: int | None) -> TrialState | None:
        """For a place in the list, or chosen by the sampler; None where that has nothing left."""
        ...

    def config(self, trial: TrialState) -> Mapping[str, Any]:
        """What a trial trains on its rung, as plain data; `ConfigError` where that is no configuration."""
        ...

    def until_epoch(self, trial: TrialState) -> int:
        """The last epoch of the rung that a trial works towards."""
        ...

    def entered_at(self, trial: TrialState) -> int:
        """The epoch after which a trial entered its rung."""
        ...


def in_folder(plain: Mapping[str, Any], folder: RunFolder, name: str) -> Mapping[str, Any]:
    """A configuration that writes into a run's own folder."""
    own = {
        "experiment_name": name,
        "checkpoint.dir": str(folder.checkpoints),
        "checkpoint.resume": None,
        "checkpoint.save": True,
        "logging.dir": str(folder.path),
        "logging.save_metrics": True,
    }
    return with_values(plain, own)
