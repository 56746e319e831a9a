"""The errors of a run, by kind, and what a command does with them: one message and an exit status.

    TrainingError
    ├── ConfigError         the configuration is wrong; lists every mistake
    ├── DataError           a file is missing, unreadable or holds nothing usable
    │   └── NothingPredictedError  of all files to predict for, none could be read
    ├── CheckpointError     a checkpoint is damaged, foreign, or of another configuration
    │   └── WriteError      a run's files cannot be written: the disk is full, or the folder is gone
    ├── DeviceError         the device asked for is not there
    ├── TaskError           a task, perhaps one of the user's own, breaks its contract
    ├── NonFiniteLoss       the loss or the metric became NaN or infinite
    └── OutOfMemory         the device has too little memory for the batch

`kind` is the name under which a study counts the failure.
"""

from __future__ import annotations

import difflib
import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_NAMED = 5  # bad rows or files that an error names; the rest is counted
FAILED, USAGE, CTRL_C = 1, 2, 130
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class TrainingError(Exception):
    """Base class of all errors that a user can do something about."""

    kind = "code"


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is (a dotted key, a file, a row) and what to do about it."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class ConfigError(TrainingError):
    """One or more mistakes in a configuration, all at once."""

    kind = "config"

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        listed = (Problem("", problems),) if isinstance(problems, str) else tuple(problems)
        self.problems = listed
        super().__init__("\n".join(str(problem) for problem in listed))


class DataError(TrainingError):
    kind = "data"


class NothingPredictedError(DataError):
    """Of all files to predict for, none could be read."""

    kind = "code"  # it was found while working, and not before


class CheckpointError(TrainingError):
    kind = "data"


class WriteError(CheckpointError):
    """A run cannot write its files: the disk is full, or the folder is gone. What was written before is intact."""

    kind = "disk"


class DeviceError(TrainingError):
    kind = "config"


class TaskError(TrainingError):
    """A task breaks its contract: a mistake in its code."""


_CALMER = "try a lower training.optimizer.lr, a smaller training.grad_clip, or training.precision=fp32"


class NonFiniteLoss(TrainingError):
    """The loss or the metric is NaN or infinite; says at which optimizer step first, and what to try."""

    kind = "nan"

    def __init__(self, what: str, value: float, epoch: int, step: int, advice: str = _CALMER) -> None:
        self.step = step
        self.epoch = epoch
        super().__init__(f"{what} is {value} at step {step} (epoch {epoch}); {advice}")


class OutOfMemory(TrainingError):
    kind = "oom"


def no_room(error: OSError) -> bool:
    """Whether a file could not be written because the disk, or the user's quota, is full."""
    return error.errno in _NO_ROOM


def plural(noun: str, number: int) -> str:
    """A noun as it follows a number: `class` after 1, `classes` after 2."""
    if number == 1:
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}es" if noun.endswith(("s", "x")) else f"{noun}s"


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as `1 class` or `2 classes`."""
    return f"{number} {plural(noun, number)}"


def listed(items: Sequence[str], noun: str) -> str:
    """Some items with their number, such as `7 missing images: a, b, c, d, e and 2 more`."""
    named = ", ".join(items[:_NAMED])
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return f"{counted(len(items), noun)}: {named}{more}"


def did_you_mean(word: str, known: Iterable[object], cutoff: float = 0.5) -> str:
    """The nearest of the known words, such as `; did you mean adam?`; empty where none is near."""
    close = difflib.get_close_matches(word, map(str, known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without PyTorch's advice to load files in a way that may run code."""
    message = str(error) or type(error).__name__
    if message.startswith("Weights only load failed"):
        name = re.search(r"GLOBAL ([\w.]+)", message)
        return f"it holds {name[1]}, which may run code" if name else "its content is not what torch.save writes"
    if "TorchScript archive" in message:
        return "it holds a program (TorchScript), which may run code"
    return message.splitlines()[0]


@contextmanager
def explained(where: str, what: str, advice: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turns errors of these kinds into one `ConfigError`: what failed, the error's first line, and the advice."""
    try:
        yield
    except kinds as error:
        told = f"{what} ({first_line(error)})"
        raise ConfigError([Problem(where, f"{told}; {advice}" if advice else told)]) from None


def guarded(work: Callable[[], int], debug: bool) -> int:
    """Runs a command and returns its exit status; an error becomes one message, or with `debug` a traceback.

    2 stands for what was wrong before anything ran: configuration, data, device. The status is the same where the
    message cannot be written.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        status = work()
    except KeyboardInterrupt:
        status = CTRL_C
    except TrainingError as error:
        if debug:
            raise
        _say(str(error))
        status = USAGE if error.kind in ("config", "data") else FAILED
    except BrokenPipeError:
        status = FAILED  # the reader of a pipe has closed it
    except OSError as error:
        if debug:
            raise
        advice = "; make room, and the same command continues" if no_room(error) else ""
        _say(f"{error.filename or 'a file'}: {error.strerror or error}{advice}")
        status = FAILED
    _drop_unwritten()
    return status


def _say(message: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"error: {message}\n")


def _drop_unwritten() -> None:
    """Drops output that could not be written: Python would try again when it ends, and exit with status 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
