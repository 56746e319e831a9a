"""Slots on this machine: one warm process each, with its GPU where there is one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO

from orchestrator.slots.slot import Beat, Ended, Event, Failed, Lost, Slice
from orchestrator.worker import LEFT, STOP

_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
_CLOSE_SECONDS = 5.0


class LocalSlot:
    """One process, in a session of its own, so that a Ctrl-C on the terminal reaches only the driver."""

    def __init__(self, name: str, gpu: str | None, threads: int, log_file: Path, stall_seconds: float) -> None:
        self.name, self.gpu, self.threads, self.stall_seconds = name, gpu, threads, stall_seconds
        self._log_file = log_file
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._work: Slice | None = None
        self._lost: list[Event] = []
        self._heard = 0.0
        self._leaving = self._stopping = False
        self.holds = ""

    def start(self) -> None:
        """Starts the process; it imports torch while the driver goes on."""
        ours, theirs = socket.socketpair()
        environment = dict(os.environ, OMP_NUM_THREADS=str(self.threads), MKL_NUM_THREADS=str(self.threads))
        # Threads that spin while they wait take the cores from whoever else runs here: other slots, other people.
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [_PACKAGE_PARENT, os.environ.get("PYTHONPATH")]))
        if self.gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpu
        self._log = self._log_file.open("ab")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.worker", str(theirs.fileno()), str(self.threads)],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        self.holds = ""
        self._leaving = False

    @property
    def connection(self) -> Connection | None:
        return self._connection

    @property
    def busy_with(self) -> int | None:
        return self._work.number if self._work else None

    def submit(self, work: Slice) -> None:
        assert self._work is None, "one slice at a time"
        if self._process is None or self._process.poll() is not None or self._leaving:
            self._end_process()
            self.start()
        assert self._connection is not None, "started above"
        self._work, self.holds, self._heard = work, work.name, time.monotonic()
        try:
            self._connection.send(work)
        except OSError:  # it died this moment
            self._lose("lost", "the process died before it took the slice")

    def poll(self) -> Sequence[Event]:
        events: list[Event] = []
        try:
            while self._connection is not None and self._connection.poll():
                event = self._connection.recv()
                self._heard = time.monotonic()
                if self._work is not None and event.number == self._work.number:
                    if isinstance(event, Ended | Failed):
                        self._work = None
                    if isinstance(event, Ended) and event.outcome.ending == "interrupted":
                        self._leaving = True  # someone else's SIGTERM also ends the process
                    events.append(event)
            if self._process is not None and self._process.poll() is not None:
                # Loading processes may hold the pipe open beyond its death, so that no end of file comes.
                raise EOFError
        except (EOFError, OSError):
            self._ended()
        if self._work is not None and time.monotonic() - self._heard > self.stall_seconds:
            self.kill("hung", f"no progress for {self.stall_seconds:.0f} s")
        events += self._lost
        self._lost = []
        return events

    def stop(self) -> None:
        self._stopping = True
        if self._connection is not None and self._work is not None:
            try:
                self._connection.send(STOP)
            except OSError:
                self._lose("lost", self._last_words())

    def kill(self, kind: str, line: str) -> None:
        self._lose(kind, line)

    def close(self) -> None:
        """Ends an idle process gently, a busy one at once."""
        if self._process is not None and self._work is None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):  # killed below, with its children
                self._process.wait(_CLOSE_SECONDS)
        self._end_process()

    def _ended(self) -> None:
        """The process is gone: of someone's SIGTERM, between slices or before its first step, or of a fault."""
        words, work = self._last_words(), self._work
        told = self._process is not None and self._process.returncode in (LEFT, -signal.SIGTERM)
        if work is None or not told:
            self._lose("lost", words)
            return
        self._work = None
        self._end_process()
        if not self._stopping:
            self.submit(work)

    def _lose(self, kind: str, line: str) -> None:
        if self._work is not None:
            self._lost.append(Lost(self._work.number, kind, line))
            self._work = None
        self._end_process()

    def _end_process(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):  # the whole group is gone already
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._log is not None:
            self._log.close()
            self._log = None
        self.holds = ""

    def _last_words(self) -> str:
        status = None
        if self._process is not None:
            try:
                status = self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                status = None
        if status is not None and status < 0:
            return f"the process was killed by {signal.Signals(-status).name}"
        return f"the process ended with status {status}; see {self._log_file}"


class LocalSlots:
    """All local slots of a study, and one place to wait for any of them."""

    def __init__(self, slots: Sequence[LocalSlot]) -> None:
        self.slots = slots
        for slot in slots:
            slot.start()

    def wait(self, seconds: float) -> None:
        connections = [slot.connection for slot in self.slots if slot.connection is not None]
        if connections:
            wait(connections, seconds)
        else:
            time.sleep(seconds)

    def close(self) -> None:
        for slot in self.slots:
            slot.close()


def open_local_slots(workers: int, threads: int, folder: Path, stall_seconds: float) -> LocalSlots:
    """`workers` processes; GPUs, where there are any, are dealt out in turn."""
    gpus = visible_gpus()
    log_file = folder / "slots.log"
    return LocalSlots(
        [
            LocalSlot(f"slot {i + 1}", gpus[i % len(gpus)] if gpus else None, threads, log_file, stall_seconds)
            for i in range(workers)
        ]
    )


def visible_gpus() -> list[str]:
    """Names of the GPUs that CUDA may use, without importing torch or touching CUDA."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [name for name in said.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))]


__all__ = ["Beat", "LocalSlot", "LocalSlots", "open_local_slots", "visible_gpus"]
