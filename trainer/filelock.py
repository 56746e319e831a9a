"""An exclusive lock on a file, held by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the system lets go of it when the process ends, however it ends."""
    with path.open("w") as file:
        # Without locks work may be done twice; whoever asks for one still moves its result into place whole.
        with suppress(OSError, ImportError):
            import fcntl  # POSIX only

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
