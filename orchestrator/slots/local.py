"""Slots on this machine: one warm process each, with its GPU where there is one.

A fork server imports torch once; every slot's process, also one that takes the place of a dead one, is a copy of it
within milliseconds. The server runs no tensor operation and never touches CUDA.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from orchestrator.slots.machine import visible_gpus
from orchestrator.slots.slot import Ended, Event, Failed, Lost, Returned, Slice
from orchestrator.slots.worker import LEFT, RECYCLED, REST, STOP, run_slot

_PRELOADED = ["orchestrator.commands.cli", "orchestrator.slots.worker", "orchestrator.slots.preload"]
_CLOSE_SECONDS = 5.0
_STATUS_SECONDS = 10.0  # a pipe ends before its process does; on a busy machine the status comes noticeably later
# Statuses that are no fault of a slice. 255 is how multiprocessing says that the fork server, which alone knew the
# status, is gone: told to end together with all others.
_NO_FAULT = (LEFT, RECYCLED, -signal.SIGTERM, 255)


class LocalSlot:
    """One process, in a session of its own, so that a Ctrl-C on the terminal reaches only the driver."""

    process = staticmethod(run_slot)

    def __init__(self, name: str, gpu: str | None, threads: int, log_file: Path, stall_seconds: float) -> None:
        self.name, self.gpu, self.threads, self.stall_seconds = name, gpu, threads, stall_seconds
        self._log_file = log_file
        self._process: ForkServerProcess | None = None
        self._connection: Connection | None = None
        self._work: Slice | None = None
        self._unread: list[Event] = []
        self._heard = 0.0
        self._leaving = self._stopping = False
        self.holds = ""

    def start(self) -> None:
        """Starts the process; the driver goes on meanwhile."""
        context = fork_server()
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self.threads, self.gpu, str(self._log_file))
        self._process = context.Process(target=self.process, args=arguments, name=self.name)
        self._process.start()
        theirs.close()
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
        if self._process is None or self._process.exitcode is not None or self._leaving:
            self._end_process()
            self.start()
        assert self._connection is not None, "started above"
        self._work, self.holds, self._heard = work, work.name, time.monotonic()
        with suppress(OSError):  # it ends this moment; whether by a fault is asked where its status is, in `poll`
            self._connection.send(work)

    def poll(self) -> Sequence[Event]:
        events: list[Event] = []
        gone = self._process is not None and self._process.exitcode is not None  # before its last words are read
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
            if gone:
                # Loading processes may hold the pipe open beyond its death, so that no end of file comes.
                raise EOFError
        except (EOFError, OSError):
            self._ended()
        if self._work is not None and time.monotonic() - self._heard > self.stall_seconds:
            self.kill("hung", f"no progress for {self.stall_seconds:.0f} s")
        events += self._unread
        self._unread = []
        return events

    def rest(self) -> None:
        self._tell(REST)

    def stop(self) -> None:
        self._stopping = True
        self._tell(STOP)

    def _tell(self, word: str) -> None:
        if self._connection is not None and self._work is not None:
            with suppress(OSError):  # as in `submit`
                self._connection.send(word)

    def kill(self, kind: str, line: str) -> None:
        self._lose(kind, line)

    def close(self) -> None:
        """Ends an idle process gently, a busy one at once."""
        if self._process is not None and self._work is None and self._process.exitcode is None:
            self._process.terminate()
            self._process.join(_CLOSE_SECONDS)  # else killed below, with its children
        self._end_process()

    def _ended(self) -> None:
        """The process is gone: to give its memory back, by someone's SIGTERM, or by a fault."""
        words, work = self._last_words(), self._work
        status = self._process.exitcode if self._process is not None else None
        if work is None or not (status in _NO_FAULT or self._stopping):
            self._lose("lost", words)
            return
        self._work = None
        self._end_process()
        self._unread.append(Returned(work.number))

    def _lose(self, kind: str, line: str) -> None:
        if self._work is not None:
            self._unread.append(Lost(self._work.number, kind, line))
            self._work = None
        self._end_process()

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.pid is not None:
            for kill in (os.killpg, os.kill):  # its children too; itself, should it not lead its group yet
                with suppress(ProcessLookupError, PermissionError):
                    kill(process.pid, signal.SIGKILL)
            process.join()
            process.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.holds = ""

    def _last_words(self) -> str:
        status = None
        if self._process is not None:
            self._process.join(_STATUS_SECONDS)
            status = self._process.exitcode
        if status is not None and status < 0:
            return f"the process was killed by {signal.Signals(-status).name}"
        return f"the process ended with status {status}; see {self._log_file}"


def begin() -> None:
    """Starts the server that slots will be copied from: it imports for seconds, in which the driver can do its own."""
    fork_server()
    forkserver.ensure_running()


def fork_server() -> ForkServerContext:
    """The server that slots are copied from; it starts with the first of them, where `begin` has not started it."""
    # Threads that spin while they wait take the cores from whoever else runs here: other slots, other people.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


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


def open_local_slots(workers: int, threads: int, log_file: Path, stall_seconds: float) -> LocalSlots:
    """`workers` processes; GPUs, where there are any, are dealt out in turn."""
    gpus = visible_gpus()
    return LocalSlots(
        [
            LocalSlot(f"slot {i + 1}", gpus[i % len(gpus)] if gpus else None, threads, log_file, stall_seconds)
            for i in range(workers)
        ]
    )
