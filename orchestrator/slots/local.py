"""Slots on this machine: one warm process each, with its GPU where there is one.

A fork server imports torch once; the process of every slot is forked from it within milliseconds, also one that
replaces a dead process. The server runs no tensor operation and never touches CUDA.
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

_PRELOADED = ["orchestrator.slots.worker", "orchestrator.slots.preload"]
_CLOSE_SECONDS = 5.0
_STATUS_SECONDS = 10.0  # a pipe closes before its process ends; on a busy machine the status comes noticeably later
# Exit statuses that are not a fault of the slice. With 255 multiprocessing reports that the fork server, which alone
# knew the status, has ended, too: someone ended all processes together.
_NO_FAULT = (LEFT, RECYCLED, -signal.SIGTERM, 255)


class LocalSlot:
    """One process, in its own session, so that a Ctrl-C on the terminal reaches only the driver."""

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
        """Starts the process; does not wait for it."""
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
        with suppress(OSError):  # the process is just ending; `poll` finds out why from its status
            self._connection.send(work)

    def poll(self) -> Sequence[Event]:
        events: list[Event] = []
        gone = self._process is not None and self._process.exitcode is not None  # before its last events are read
        try:
            while self._connection is not None and self._connection.poll():
                event = self._connection.recv()
                self._heard = time.monotonic()
                if self._work is not None and event.number == self._work.number:
                    if isinstance(event, Ended | Failed):
                        self._work = None
                    if isinstance(event, Ended) and event.outcome.ending == "interrupted":
                        self._leaving = True  # after a SIGTERM by someone else, the process ends, too
                    events.append(event)
            if gone:
                # Data loading processes may keep the pipe open after its death, so that no end of file comes.
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

    def close(self) -> None:
        """Terminates an idle process, and kills a busy one."""
        if self._process is not None and self._work is None and self._process.exitcode is None:
            self._process.terminate()
            self._process.join(_CLOSE_SECONDS)  # if it has not ended by then, it is killed below with its children
        self._end_process()

    def _ended(self) -> None:
        """The process has ended: to free its memory, because of a SIGTERM, or by a fault."""
        words, work = self._last_words(), self._work
        status = self._process.exitcode if self._process is not None else None
        if work is None or not (status in _NO_FAULT or self._stopping):
            self.kill("lost", words)
            return
        self._work = None
        self._end_process()
        self._unread.append(Returned(work.number))

    def kill(self, kind: str, line: str) -> None:
        if self._work is not None:
            self._unread.append(Lost(self._work.number, kind, line))
            self._work = None
        self._end_process()

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.pid is not None:
            for kill in (os.killpg, os.kill):  # its group with its children, and itself if it has no group yet
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
    """Starts the fork server early: it imports for seconds, in which the driver can do its own imports."""
    fork_server()
    forkserver.ensure_running()


def fork_server() -> ForkServerContext:
    """The context of the fork server, which starts with the first slot where `begin` has not started it."""
    # OpenMP threads must not spin while they wait: they would take cores from other slots and other users.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


class LocalSlots:
    """All local slots of a study."""

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
    """`workers` slots; GPUs, where there are any, are assigned in turn."""
    gpus = visible_gpus()
    return LocalSlots(
        [
            LocalSlot(f"slot {i + 1}", gpus[i % len(gpus)] if gpus else None, threads, log_file, stall_seconds)
            for i in range(workers)
        ]
    )
