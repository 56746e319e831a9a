"""The lock of a study: only one driver at a time. It names its holder, and a dead holder does not keep it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from orchestrator.study.folder import StudyFolder
from trainer.api import TrainingError

_FOREIGN_SECONDS = 60.0  # a holder on another host touches its lock more often than this
_TOUCH_SECONDS = 15.0
_HOST = socket.gethostname()


class StudyInUse(TrainingError):
    """Another driver works on the study."""


class StudyLock:
    """Held as long as a driver works. On one host the kernel frees it when the process ends. Between hosts, a shared
    file system may not support such locks; there a recent time stamp means that the holder is alive."""

    def __init__(self, files: StudyFolder) -> None:
        self.path = files.lock
        self._file: IO[str] | None = None
        self._released = threading.Event()

    def __enter__(self) -> StudyLock:
        file = self.path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:
            free = False
        holder = _holder(self.path)
        if not free or (holder.get("host", _HOST) != _HOST and _is_fresh(self.path)):
            file.close()
            raise StudyInUse(f"{self.path.parent} is in use by {_described(holder)}; wait for it or stop it")
        self._file = file
        self._write({"pid": os.getpid(), "host": _HOST, "started": time.strftime("%Y-%m-%d %H:%M:%S")})
        threading.Thread(target=self._stay_fresh, daemon=True).start()
        return self

    def _stay_fresh(self) -> None:
        """Updates the time stamp until the lock is released, whatever the driver is doing."""
        while not self._released.wait(_TOUCH_SECONDS):
            with suppress(OSError):  # a full disk, or one without connection: tried again later
                os.utime(self.path)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._released.set()
        if self._file is not None:
            self._write({})
            self._file.close()
            self._file = None

    def _write(self, content: dict[str, Any]) -> None:
        assert self._file is not None, "only a held lock is written"
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(content))
        self._file.flush()


def is_held(files: StudyFolder) -> bool:
    """Whether a driver works on the study, according to its lock. Takes no lock, so that reading stops no driver."""
    holder = _holder(files.lock)
    if not isinstance(holder.get("pid"), int):
        return False
    if holder.get("host") != _HOST:
        return _is_fresh(files.lock)
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _holder(path: Path) -> dict[str, Any]:
    """What the holder wrote; empty where there is none, or where it was killed while it wrote."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8") or "{}")
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _is_fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < _FOREIGN_SECONDS
    except OSError:
        return False


def _described(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')} (since {holder.get('started')})"
