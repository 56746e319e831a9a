"""An exclusive lock on a file, held by one process at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
