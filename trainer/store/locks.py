"""Exclusive locks on files: one to wait for, and one that is refused at once where another process holds it."""

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
_TRIES = 100


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds an exclusive lock on `path`; the system releases it when the process ends, however it ends.

    `waiting` is called again and again while another process holds it.
    """
    with path.open("w") as file:
        # Without locks work may be done twice; but every result is still moved into place in one step.
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
    seconds, must not hold it. Its file goes with the run, as do folders made for it that the run left empty.
    """
    new: list[Path] = []
    with suppress(OSError):
        new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        file = _held(folder)
        if file is None:
            yield
            return
        with file:
            with suppress(OSError):  # a full disk: the lock holds without a name
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
            try:
                yield
            finally:
                with suppress(OSError):  # while it is held: a process that locks it after that sees that it is gone
                    if _lies_at(file, folder / RUN_LOCK):
                        (folder / RUN_LOCK).unlink()
    finally:
        with suppress(OSError):  # not empty: the run was not refused
            for path in new:
                path.rmdir()


def _held(folder: Path) -> IO[str] | None:
    """The lock's file, held; None where it cannot be written, and the run itself says why."""
    path = folder / RUN_LOCK
    for _ in range(_TRIES):
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a+", encoding="utf-8")
        except FileNotFoundError:  # a run that ended has just removed the folder
            continue
        except OSError:
            return None
        if not _taken(file):
            with file:
                file.seek(0)
                what = f"{folder} is in use by another run (process {file.read().strip() or 'unknown'})"
            raise ConfigError([Problem("checkpoint.dir", f"{what}; name another folder, or wait for it")])
        if _lies_at(file, path):
            return file
        file.close()  # a run that ended removed it after it was opened here
    return None


def _lies_at(file: IO[str], path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _taken(file: IO[str]) -> bool:
    """Takes the lock; False where another process has it, True also where the system has no locks."""
    with suppress(ImportError):
        import fcntl  # POSIX only

        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True
