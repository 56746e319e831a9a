"""The worker process of a slot: trains slices, one at a time. It gets and sends plain data and never opens the study.

It is forked from a server that has imported torch. The last run stays in memory, so that continuing it loads nothing.
When the driver dies, the pipe closes, and this process ends at once with its children.
"""

from __future__ import annotations

import atexit
import gc
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from orchestrator.slots.slot import Beat, Ended, Evaluated, Event, Failed, Slice, Started
from trainer.api import Evaluation, Heartbeat, Hooks, Session, TrainingError, no_room, open_session, resolve_config

STOP, REST = "stop", "rest"  # at the next step, at the end of the epoch
LEFT = 128 + signal.SIGTERM  # exit status of a process that was told to stop: not a fault of the slice
RECYCLED = 75  # exit status of a process whose memory was not freed: a new process gets the slice
_BEAT_SECONDS = 0.5
_MEMORY_GROWTH = 1.5  # caches that trials share may grow by this factor
_MEMORY_ALLOWED = (2 * 10**9, 256 * 10**6)  # and by so many bytes: of the process, and on the GPU


@dataclass
class Worker:
    """The loop of one process: slices in, events out."""

    send: Callable[[Event], None]
    stop: threading.Event = field(default_factory=threading.Event)
    rest: threading.Event = field(default_factory=threading.Event)
    terminated: threading.Event = field(default_factory=threading.Event)
    inbox: queue.SimpleQueue[Slice | None] = field(default_factory=queue.SimpleQueue)
    held: Session | None = None
    held_name: str = ""
    held_epoch: int = 0
    usual_memory: tuple[int, int] | None = None

    def hear(self, message: Slice | str) -> None:
        """Handles a message of the driver: a slice, or `STOP` or `REST` for the slice before it.

        `STOP` and `REST` do not apply to the next slice. They are reset here, in the order of the messages, and not by
        the thread that trains, which may still finish a slice when the next slice and a message for it arrive.
        """
        if message == STOP:
            self.stop.set()
        elif message == REST:
            self.rest.set()
        else:
            assert isinstance(message, Slice), "no other message"
            self.stop.clear()
            self.rest.clear()
            if self.terminated.is_set():  # this applies to every slice
                self.stop.set()
            self.inbox.put(message)

    def terminate(self) -> None:
        """Ends this slice after its next step, and the process after it."""
        self.terminated.set()
        self.stop.set()
        self.inbox.put(None)

    def run(self, work: Slice) -> None:
        """Trains one slice; every exception becomes a `Failed` and does not end the process."""

        def say(line: str) -> None:
            # A full disk must not end the trial because of its log.
            with suppress(OSError), Path(work.log_file).open("a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

        try:
            self._train(work, say)
        except TrainingError as error:
            say(f"failed ({error.kind}): {error}")
            self._failed(work, error.kind, str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one trial must not end the others
            say(traceback.format_exc())
            kind = "disk" if isinstance(error, OSError) and no_room(error) else "code"
            self._failed(work, kind, f"{type(error).__name__}: {error}")

    def _failed(self, work: Slice, kind: str, message: str) -> None:
        """Reports a failure. Not after a SIGTERM, which may also have ended the data loading processes: the slice is
        trained again, and a fault of the trial itself will occur again."""
        self._release()
        if not self.terminated.is_set():
            self.send(Failed(work.number, kind, message.splitlines()[0]))

    def _train(self, work: Slice, say: Callable[[str], None]) -> None:
        last_beat = 0.0

        def heartbeat(beat: Heartbeat) -> None:
            nonlocal last_beat
            now = time.monotonic()
            if now - last_beat >= _BEAT_SECONDS:
                last_beat = now
                self.send(Beat(work.number, beat.epoch, beat.step, beat.steps))

        def preparing(done: int, of: int) -> None:
            if self.stop.is_set():  # before the first step there is nothing to save
                raise SystemExit(LEFT)
            heartbeat(Heartbeat(work.known_epoch + 1, done, of))

        def report(evaluation: Evaluation) -> None:
            metrics = ", ".join(f"{name} {number:.5g}" for name, number in evaluation.metrics.items())
            say(f"epoch {evaluation.epoch}: {metrics} ({evaluation.seconds:.1f} s)")
            self.send(Evaluated(work.number, evaluation))

        hooks = Hooks(report, heartbeat, self.stop.is_set, say, preparing, self.rest.is_set)
        session = self._session(work, hooks)
        self.send(Started(work.number))
        for evaluation in session.run.history:
            if evaluation.epoch > work.known_epoch:
                self.send(Evaluated(work.number, evaluation))
        outcome = session.train(work.until_epoch, hooks)
        self.held_epoch = outcome.epoch
        self.send(Ended(work.number, outcome))

    def _session(self, work: Slice, hooks: Hooks) -> Session:
        """The run in memory, where it is this one and at the epoch that the driver expects; else the run is opened."""
        if self.held is not None and self.held_name == work.name and self.held_epoch == work.known_epoch:
            if work.rung != self.held.run.progress.rung:
                self.held.climb(resolve_config(work.config), work.rung)
            return self.held
        if self.held is not None:
            self._release()
            self._check_memory()
        # Whether the study continues on changed data was decided when it was planned.
        self.held = open_session(resolve_config(work.config), hooks, work.rung, resume=True, force=True)
        self.held_name = work.name
        return self.held

    def _check_memory(self) -> None:
        """Between two trials: ends the process where a trial's memory was not freed; a new one gets the slice."""
        used = memory_in_use()
        if self.usual_memory is None:
            self.usual_memory = used
            settle()
        for before, now, allowed in zip(self.usual_memory, used, _MEMORY_ALLOWED, strict=True):
            if now > before * _MEMORY_GROWTH + allowed:
                raise SystemExit(RECYCLED)

    def _release(self) -> None:
        if self.held is not None:
            self.held.close()
        self.held, self.held_name, self.held_epoch = None, "", 0


def settle() -> None:
    """Excludes all present objects from garbage collection: they stay, and forked processes share their pages."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # else libraries report these objects as their leaks


def memory_in_use() -> tuple[int, int]:
    """Bytes of the process's resident memory, without mapped files, and bytes of its tensors on the GPU."""
    import torch

    gc.collect()
    on_gpu = 0
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
        on_gpu = torch.cuda.memory_allocated()
    statm = Path("/proc/self/statm")
    resident, mapped = (int(word) for word in statm.read_text().split()[1:3]) if statm.exists() else (0, 0)
    return (resident - mapped) * os.sysconf("SC_PAGE_SIZE"), on_gpu


def serve(connection: Connection, threads: int) -> bool:
    """Trains slices until it is told to end; True where that was by a SIGTERM."""
    lock = threading.Lock()

    def send(event: Event) -> None:
        with lock:
            connection.send(event)

    worker = Worker(send)
    signal.signal(signal.SIGTERM, lambda _number, _frame: worker.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles Ctrl-C and passes it on
    threading.Thread(target=_listen, args=(connection, worker), daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    while (work := worker.inbox.get()) is not None:
        worker.run(work)
        if worker.terminated.is_set():
            break
    return worker.terminated.is_set()


def _listen(connection: Connection, worker: Worker) -> None:
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            # The driver is dead: no result of this process can be recorded any more.
            os.killpg(os.getpgrp(), signal.SIGKILL)
        worker.hear(message)


def run_slot(connection: Connection, threads: int, gpu: str | None, log_file: str) -> None:
    """The main function of a slot's process: sets its own process group, GPU, threads and log, then serves slices."""
    os.setsid()  # a Ctrl-C on the terminal reaches only the driver
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # nothing has initialised CUDA yet
    sys.exit(LEFT if serve(connection, threads) else 0)
