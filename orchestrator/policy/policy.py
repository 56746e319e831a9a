"""The contract of a policy."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol

from orchestrator.state import StudyState, TrialState


@dataclass(frozen=True)
class Continue:
    """Train this trial on to the end of `until_epoch`."""

    number: int
    until_epoch: int


@dataclass(frozen=True)
class Ask:
    """Open a new trial for the place `index` in the plan's list."""

    index: int


@dataclass(frozen=True)
class Verdict:
    """What becomes of a trial after an evaluation, and why. `go_on` keeps it running; the reason may be empty."""

    action: Literal["go_on", "prune", "complete"]
    reason: str = ""


class Policy(Protocol):
    def next(self, state: StudyState, busy: Collection[int]) -> Continue | Ask | None:
        """The next slice for a free slot; `busy` are the trials that slots are training now."""
        ...

    def judge(self, trial: TrialState, state: StudyState, stopped_because: str = "") -> Verdict:
        """After a slice: what becomes of its trial. `stopped_because` says why the run itself ended early."""
        ...

    def learn(self, trial: TrialState, epoch: int, value: float) -> None:
        """An evaluation was recorded."""
        ...

    def closed(self, trial: TrialState) -> None:
        """A trial reached its final status."""
        ...
