"""The contract of a slot, and the messages that pass through it: plain data both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trainer.api import Evaluation, Outcome


@dataclass(frozen=True)
class Slice:
    """Train `config` on to the end of `until_epoch`; `name` tells one run from another.

    `known_epoch` is the last epoch whose evaluation the driver has; evaluations after it are sent, also those
    that a checkpoint holds already.
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
    """The slice is alive: optimizer step `step` of `steps` in `epoch`."""

    number: int
    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class Evaluated:
    number: int
    evaluation: Evaluation


@dataclass(frozen=True)
class Ended:
    """The slice came to its end, or was told to stop."""

    number: int
    outcome: Outcome


@dataclass(frozen=True)
class Failed:
    """The slice raised an error; `kind` is the failure's kind, `line` its first line."""

    number: int
    kind: str
    line: str


@dataclass(frozen=True)
class Lost:
    """The process died, or was killed because it hung (`kind`), with the slice unfinished."""

    number: int
    kind: str
    line: str


@dataclass(frozen=True)
class Returned:
    """The slice comes back unfinished by no fault of its own: the process ended to give its memory back, or was told to
    end by someone else than the driver."""

    number: int


Event = Started | Beat | Evaluated | Ended | Failed | Lost | Returned


class Slot(Protocol):
    """One place where one slice runs at a time."""

    name: str

    @property
    def busy_with(self) -> int | None:
        """The number of the trial that is being trained here."""
        ...

    @property
    def holds(self) -> str:
        """The name of the run that is still in memory here."""
        ...

    def submit(self, work: Slice) -> None: ...

    def poll(self) -> Sequence[Event]:
        """What happened since the last call; never blocks."""
        ...

    def rest(self) -> None:
        """Asks the running slice to end with its epoch."""
        ...

    def stop(self) -> None:
        """Asks the running slice to checkpoint and end at its next step."""
        ...

    def kill(self, kind: str, line: str) -> None:
        """Ends the process with its children at once; the running slice is `Lost`."""
        ...

    def close(self) -> None: ...


class Slots(Protocol):
    """All slots of one kind."""

    slots: Sequence[Slot]

    def wait(self, seconds: float) -> None:
        """Blocks until some slot has something to say, or the time is over."""
        ...

    def close(self) -> None: ...
