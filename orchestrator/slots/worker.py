"""Runs slices, one at a time, in a process of its own. Plain data in and out; it never opens the study.

A slot has it forked from a server that has imported torch. The last run stays in memory, so that continuing it
reloads nothing. When the driver dies, the pipe ends, and this process with its children goes at once.
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
LEFT = 128 + signal.SIGTERM  # exit status of a process that was told to stop: no fault of the slice
RECYCLED = 75  # exit status of a process whose memory did not come back: the slice goes to a new one
_BEAT_SECONDS = 0.5
_MEMORY_GROWTH = 1.5  # caches that trials share may grow; what a trial leaves behind may not
_MEMORY_ALLOWED = (2 * 10**9, 256 * 10**6)  # bytes on top, of the process and on the GPU


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
        """Takes a message where it comes in: a slice into the inbox, a word for the slice before it.

        What was said to one slice does not hold for the next; forgotten in the order of the messages, and not by the
        thread that trains, which may still be leaving a slice when the next one and a word for it are here.
        """
        if message == STOP:
            self.stop.set()
        elif message == REST:
            self.rest.set()
        else:
            assert isinstance(message, Slice), "no other message"
            self.stop.clear()
            self.rest.clear()
            if self.terminated.is_set():  # which holds for every slice
                self.stop.set()
            self.inbox.put(message)

    def terminate(self) -> None:
        """This slice is to end at its next step, and none comes after it."""
        self.terminated.set()
        self.stop.set()
        self.inbox.put(None)

    def run(self, work: Slice) -> None:
        """Trains one slice; whatever it raises becomes a `Failed`, never the end of the process."""

        def say(line: str) -> None:
            # A full disk may cost lines of the log, not the trial.
            with suppress(OSError), Path(work.log_file).open("a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

        try:
            self._train(work, say)
        except TrainingError as error:
            say(f"failed ({error.kind}): {error}")
            self._failed(work, error.kind, str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one trial must not cost the others
            say(traceback.format_exc())
            kind = "disk" if isinstance(error, OSError) and no_room(error) else "code"
            self._failed(work, kind, f"{type(error).__name__}: {error}")

    def _failed(self, work: Slice, kind: str, words: str) -> None:
        """Reports a failure; not after a SIGTERM, which may have gone to the loading processes too: the slice is
        given out again, and what was the trial's own fault will show again."""
        self._release()
        if not self.terminated.is_set():
            self.send(Failed(work.number, kind, words.splitlines()[0]))

    def _train(self, work: Slice, say: Callable[[str], None]) -> None:
        last_beat = 0.0

        def heartbeat(beat: Heartbeat) -> None:
            nonlocal last_beat
            now = time.monotonic()
            if now - last_beat >= _BEAT_SECONDS:
                last_beat = now
                self.send(Beat(work.number, beat.epoch, beat.step, beat.steps))

        def preparing(done: int, of: int) -> None:
            if self.stop.is_set():  # there is no step yet at whose end to stop, and nothing to save
                raise SystemExit(LEFT)
            heartbeat(Heartbeat(work.known_epoch + 1, done, of))

        def report(evaluation: Evaluation) -> None:
            words = ", ".join(f"{name} {number:.5g}" for name, number in evaluation.metrics.items())
            say(f"epoch {evaluation.epoch}: {words} ({evaluation.seconds:.1f} s)")
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
        """The run in memory where it is this one and stands where the driver thinks; else opened afresh."""
        if self.held is not None and self.held_name == work.name and self.held_epoch == work.known_epoch:
            if work.rung != self.held.run.progress.rung:
                self.held.climb(resolve_config(work.config), work.rung)
            return self.held
        if self.held is not None:
            self._release()
            self._check_memory()
        self.held = open_session(resolve_config(work.config), hooks, work.rung, resume=True)
        self.held_name = work.name
        return self.held

    def _check_memory(self) -> None:
        """Between two trials: where a trial's memory did not come back, the slice is better off in a new process."""
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
    """What is in memory now stays for good: no later collection need look through it, nor touch its pages."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # or libraries take it for leaks of theirs, and say so


def memory_in_use() -> tuple[int, int]:
    """Bytes of the process that are in memory, without files that it maps, and bytes of tensors on its GPU."""
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
    """Takes slices until told to end; True where a SIGTERM told it."""
    lock = threading.Lock()

    def send(event: Event) -> None:
        with lock:
            connection.send(event)

    worker = Worker(send)
    signal.signal(signal.SIGTERM, lambda _number, _frame: worker.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to pass on
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
            # The driver is gone: nothing that this process does can be recorded any more.
            os.killpg(os.getpgrp(), signal.SIGKILL)
        worker.hear(message)


def run_slot(connection: Connection, threads: int, gpu: str | None, log_file: str) -> None:
    """The whole life of a slot's process: a group of its own, its GPU, its share of the cores, its log."""
    os.setsid()  # a Ctrl-C on the terminal reaches only the driver
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before CUDA is initialised, which nothing has done yet
    sys.exit(LEFT if serve(connection, threads) else 0)
