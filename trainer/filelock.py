"""Exclusive locks on files: one to wait for, and one that says at once that another has it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from trainer.errors import ConfigError, Problem

RUN_LOCK = "run.lock"
_ASK_SECONDS = 0.05


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the system lets go of it when the process ends, however it ends.

    `waiting` is called again and again while another process holds it.
    """
    with path.open("w") as file:
        # Without locks work may be done twice; whoever asks for one still moves its result into place whole.
        with suppress(OSError, ImportError):
            import fcntl  # POSIX only

            while waiting is not None:
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                waiting()
                time.sleep(_ASK_SECONDS)
            else:
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def sole_run(folder: Path) -> Iterator[None]:
    """Refuses with a `ConfigError` a second run in a folder: each would write over the other's checkpoints.

    A lock of the process and not of the open file: processes that load data, which outlive a killed run for some
    seconds, must not hold it.
    """
    with suppress(OSError):  # where nothing can be written the run itself says why
        folder.mkdir(parents=True, exist_ok=True)
    try:
        file = (folder / RUN_LOCK).open("a+", encoding="utf-8")
    except OSError:
        yield
        return
    with file:
        if not _taken(file):
            file.seek(0)
            what = f"{folder} is in use by another run (process {file.read().strip() or 'unknown'})"
            raise ConfigError([Problem("checkpoint.dir", f"{what}; name another folder, or wait for it")])
        with suppress(OSError):  # a full disk: the lock holds without a name
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield


def _taken(file: IO[str]) -> bool:
    """Takes the lock; False where another process has it, True also where the system knows no locks."""
    with suppress(ImportError):
        import fcntl  # POSIX only

        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True
