"""The contract of a slot, and the messages between driver and slot: plain data in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trainer.api import Evaluation, Outcome


@dataclass(frozen=True)
class Slice:
    """A piece of work: train `config` until the end of `until_epoch`. `name` identifies the run.

    `known_epoch` is the last epoch whose evaluation the driver has; later evaluations are sent, also those that are
    already in a checkpoint.
    """

    name: str
    number: int
    config: Mapping[str, Any]
    rung: int
    until_epoch: int
    known_epoch: int
    log_file: str


@dataclass(frozen=True)
class Started:
    """The slice's model and data are ready."""

    number: int


@dataclass(frozen=True)
class Beat:
    """The slice makes progress: optimizer step `step` of `steps` in `epoch`."""

    number: int
    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class Evaluated:
    """The slice has evaluated an epoch."""

    number: int
    evaluation: Evaluation


@dataclass(frozen=True)
class Ended:
    """The slice ended normally, or because it was told to stop."""

    number: int
    outcome: Outcome


@dataclass(frozen=True)
class Failed:
    """The slice raised an error of this `kind`; `line` is the first line of its message."""

    number: int
    kind: str
    line: str


@dataclass(frozen=True)
class Lost:
    """The process died, or was killed because it made no progress (`kind`); the slice is unfinished."""

    number: int
    kind: str
    line: str


@dataclass(frozen=True)
class Returned:
    """The slice is unfinished, but not by its own fault: the process ended to free its memory, or because someone else
    than the driver told it to."""

    number: int


Event = Started | Beat | Evaluated | Ended | Failed | Lost | Returned


class Slot(Protocol):
    """One place where one slice runs at a time."""

    name: str

    @property
    def busy_with(self) -> int | None:
        """The number of the trial in training here; None in an idle slot."""
        ...

    @property
    def holds(self) -> str:
        """The name of the run that is still in memory here."""
        ...

    def submit(self, work: Slice) -> None: ...

    def poll(self) -> Sequence[Event]:
        """The events since the last call; never blocks."""
        ...

    def rest(self) -> None:
        """Asks the running slice to end after its epoch."""
        ...

    def stop(self) -> None:
        """Asks the running slice to write a checkpoint and end after its next step."""
        ...

    def kill(self, kind: str, line: str) -> None:
        """Kills the process and its children at once; the running slice is `Lost`."""
        ...

    def close(self) -> None: ...


class Slots(Protocol):
    """All slots of one kind."""

    slots: Sequence[Slot]

    def wait(self, seconds: float) -> None:
        """Blocks until a slot has an event, or the time is over."""
        ...

    def close(self) -> None: ...
