"""One driver a study: a lock that names its holder, and that a dead holder cannot keep."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import IO

from orchestrator.study.folder import StudyFolder
from trainer.api import TrainingError

_FOREIGN_SECONDS = 60.0  # a holder on another host touches its lock more often than this
_TOUCH_SECONDS = 15.0


class StudyInUse(TrainingError):
    """Another driver works on the study."""


class StudyLock:
    """Held for the life of a driver. On one host the kernel frees it with its process; across hosts, where a
    shared file system may not pass such locks on, a fresh time stamp means that the holder lives."""

    def __init__(self, files: StudyFolder) -> None:
        self.path = files.lock
        self._file: IO[str] | None = None
        self._released = threading.Event()

    def __enter__(self) -> StudyLock:
        file = self.path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = self._holder(file)
            file.close()
            raise StudyInUse(f"{self.path.parent} is in use by {_words(holder)}; wait for it or stop it") from None
        holder = self._holder(file)
        fresh = time.time() - os.fstat(file.fileno()).st_mtime < _FOREIGN_SECONDS
        if holder and holder.get("host") != socket.gethostname() and fresh:
            file.close()
            raise StudyInUse(f"{self.path.parent} is in use by {_words(holder)}; wait for it or stop it")
        self._file = file
        self._write({"pid": os.getpid(), "host": socket.gethostname(), "started": time.strftime("%Y-%m-%d %H:%M:%S")})
        threading.Thread(target=self._stay_fresh, daemon=True).start()
        return self

    def _stay_fresh(self) -> None:
        """Says that the holder lives, whatever it is busy with; ends with it."""
        while not self._released.wait(_TOUCH_SECONDS):
            with suppress(OSError):  # a full or distant disk: the next time
                os.utime(self.path)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._released.set()
        if self._file is not None:
            self._write({})
            self._file.close()
            self._file = None

    def _holder(self, file: IO[str]) -> dict[str, object]:
        file.seek(0)
        try:
            found = json.loads(file.read() or "{}")
        except ValueError:  # its holder was killed while it wrote
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, content: dict[str, object]) -> None:
        assert self._file is not None, "only a held lock is written"
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(content))
        self._file.flush()


def is_held(files: StudyFolder) -> bool:
    """Whether a driver works on the study, as its lock says. Takes no lock itself: a look must stop nobody."""
    path = files.lock
    try:
        holder = json.loads(path.read_text(encoding="utf-8") or "{}")
        age = time.time() - path.stat().st_mtime
    except (OSError, ValueError):
        return False
    if not isinstance(holder, dict) or not isinstance(holder.get("pid"), int):
        return False
    if holder.get("host") != socket.gethostname():
        return age < _FOREIGN_SECONDS
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _words(holder: dict[str, object]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')} (since {holder.get('started')})"
