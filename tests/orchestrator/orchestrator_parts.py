"""Parts for the orchestrator's tests: tiny plans, and slots that replay tabulated curves on a clock of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from click.testing import Result
from in_process import Done, command

from orchestrator.engine.checkpoint_quota import CheckpointKeeper
from orchestrator.engine.driver import Driver, Ending, Stop
from orchestrator.engine.full_stage import FullStage, Promotion
from orchestrator.engine.ledger import Ledger
from orchestrator.engine.reopen import reopen_failed
from orchestrator.engine.search_stage import SearchStage
from orchestrator.engine.stage import Stage
from orchestrator.planning.arguments import Request
from orchestrator.planning.request import make_plan
from orchestrator.slots.slot import Beat, Ended, Evaluated, Event, Failed, Lost, Slice, Slot, Started
from orchestrator.storage.opening import open_full, open_search
from orchestrator.storage.optuna_study import OptunaStudy
from orchestrator.storage.store import Store, memory_store
from orchestrator.study.plan import Limits, Plan
from orchestrator.study.state import StudyState
from orchestrator.study.trial import Evaluated as EvaluatedEpoch
from orchestrator.study.trial import TrialState
from trainer.api import Evaluation, Outcome

Command = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[2]
LR = "training.optimizer.lr"
TINY: Mapping[str, Any] = {
    "data.scenes.images": 60,
    "data.scenes.size": 48,
    "data.image_size": 32,
    "model.embed_size": 16,
    "model.encoder_dim": 16,
    "model.decoder_dim": 16,
    "training.epochs": 6,
}


def write_trials(path: Path, trials: Any, **sections: Any) -> Path:
    """A trials file with the tiny overrides; `sections` replace or add to it."""
    content = {"overrides": dict(TINY), "budget": {"epochs": 3, "subset": 30}, "trials": trials, **sections}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def tiny_plan(folder: Path, trials: Sequence[Mapping[str, Any] | float], **sections: Any) -> Plan:
    """A plan over trials; a bare number stands for a learning rate. No pruner unless `search` names one."""
    listed = [{LR: trial} if isinstance(trial, int | float) else dict(trial) for trial in trials]
    sections = {"search": {"pruner": "none"}, **sections}
    path = write_trials(folder / "tiny.json", listed, **sections)
    plan, _ = make_plan(Request(path, output_dir=folder / "outputs"))
    return plan


def orchestrator_command(cwd: Path, *words: str) -> Done:
    """The command in this process."""
    return command("orchestrator", words, cwd, {"OMP_NUM_THREADS": "1"})


def python_process(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with what is in it, but for those that SQLite keeps while someone reads."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith(("-shm", "-wal")))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@dataclass(frozen=True)
class Fault:
    """What goes wrong in an epoch: `lost` and `hung` take the process down, any other kind is an error in it."""

    kind: str
    line: str = "something broke"


@dataclass
class World:
    """What outlives a slot: curves by learning rate, checkpoints by run, the time.

    A fault is met once and then gone. `early` is the epoch at which a run stops by itself, with its reason.
    """

    curves: Mapping[float, Sequence[float]]
    faults: dict[tuple[float, int], list[Fault]] = field(default_factory=dict)
    early: Mapping[float, tuple[int, str]] = field(default_factory=dict)
    seconds_per_epoch: float = 10.0
    now: float = 1000.0
    trained: dict[str, list[Evaluation]] = field(default_factory=dict)
    epochs_trained: Counter[str] = field(default_factory=Counter)
    submitted: list[tuple[str, Slice]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def evaluate(self, work: Slice) -> Evaluation:
        history = self.trained.setdefault(work.name, [])
        epoch = len(history) + 1
        value = float(self.curves[rate(work)][epoch - 1])
        metrics = {"train_loss": 1.0, "val_loss": 100.0 - value, "bleu": value}
        history.append(Evaluation(epoch, 5 * epoch, work.rung, self.seconds_per_epoch, value, metrics))
        self.epochs_trained[Path(work.name).name] += 1
        return history[-1]


def rate(work: Slice) -> float:
    found: float = work.config["training"]["optimizer"]["lr"]
    return found


class FakeSlot:
    """A slot without a process: one epoch for each `advance`, its checkpoint kept in the world."""

    def __init__(self, name: str, world: World) -> None:
        self.name, self.world = name, world
        self.holds = ""
        self.closed = False
        self._work: Slice | None = None
        self._stopping = self._resting = False
        self._over = False
        self._events: list[Event] = []

    @property
    def busy_with(self) -> int | None:
        return self._work.number if self._work else None

    def submit(self, work: Slice) -> None:
        assert self._work is None, "one slice at a time"
        json.dumps(dict(work.config))  # plain data
        self._work, self._stopping, self._resting, self._over = work, False, False, False
        self.holds = work.name
        self.world.submitted.append((self.name, work))
        self._events.append(Started(work.number))
        known = (e for e in self.world.trained.get(work.name, []) if e.epoch > work.known_epoch)
        self._events += [Evaluated(work.number, evaluation) for evaluation in known]

    def advance(self) -> None:
        """Trains one epoch of the running slice."""
        work = self._work
        if work is None or self._over:
            return
        if not self._ended(work):
            if self._stopping or self._resting:  # between two waits a fake slot stands at an epoch's end
                self._end(work, "interrupted")
                return
            epoch = len(self.world.trained.get(work.name, [])) + 1
            faults = self.world.faults.get((rate(work), epoch), [])
            if faults:
                self._break(work, faults.pop(0))
                return
            self._events.append(Beat(work.number, epoch, 1, 5))
            self._events.append(Evaluated(work.number, self.world.evaluate(work)))
        ending = self._ended(work)
        if ending:
            self._end(work, ending)

    def poll(self) -> Sequence[Event]:
        events, self._events = self._events, []
        if any(isinstance(event, Ended | Failed | Lost) for event in events):
            self._work = None
        return events

    def rest(self) -> None:
        self._resting = self._work is not None

    def stop(self) -> None:
        self._stopping = self._work is not None

    def kill(self, kind: str, line: str) -> None:
        if self._work is not None:
            self._break(self._work, Fault("lost" if kind == "lost" else kind, line), dead=True)
        self.holds = ""

    def close(self) -> None:
        self.closed = True
        self._work, self._events = None, []

    def _ended(self, work: Slice) -> str:
        done = len(self.world.trained.get(work.name, []))
        if done and self.world.early.get(rate(work), (0, ""))[0] == done:
            return "early"
        if done >= work.config["training"]["epochs"]:
            return "finished"
        return "reached" if done >= work.until_epoch else ""

    def _end(self, work: Slice, ending: Any) -> None:
        history = self.world.trained.get(work.name, [])
        reason = self.world.early[rate(work)][1] if ending == "early" else ""
        checkpoint = f"{work.name}/checkpoints/last.pth"
        seconds = sum(e.seconds for e in history)
        epoch, step = len(history), 5 * len(history)
        outcome = Outcome(ending, epoch, step, seconds, tuple(history), checkpoint, "cpu", "fp32", reason)
        self._over = True
        self._events.append(Ended(work.number, outcome))

    def _break(self, work: Slice, fault: Fault, dead: bool = False) -> None:
        self._over = True
        if dead or fault.kind in ("lost", "hung"):
            self.holds = ""
            self._events.append(Lost(work.number, fault.kind, fault.line))
        else:
            self._events.append(Failed(work.number, fault.kind, fault.line))


class FakeSlots:
    """Waiting takes one epoch's time on the world's clock."""

    def __init__(self, world: World, workers: int = 1) -> None:
        self.world = world
        self.slots: Sequence[FakeSlot] = [FakeSlot(f"slot {i + 1}", world) for i in range(workers)]
        self.on_wait: Callable[[], None] = lambda: None

    def wait(self, seconds: float) -> None:
        self.on_wait()
        self.world.now += self.world.seconds_per_epoch
        for slot in self.slots:
            slot.advance()

    def close(self) -> None:
        for slot in self.slots:
            slot.close()


@dataclass
class Recorder:
    """A watcher that keeps what it was told."""

    lines: list[str] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    changes: list[tuple[int, str, bool]] = field(default_factory=list)
    on_tick: Callable[[Stage], None] = lambda _: None

    def line(self, text: str) -> None:
        self.lines.append(text)

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        self.changes.append((trial.trial_id, trial.status, final))

    def beat(self, stage: Stage, slot: Slot, beat: Beat) -> None:
        self.beats.append(beat)

    def tick(self, stage: Stage) -> None:
        self.on_tick(stage)


def evaluated(trial: TrialState, values: Mapping[int, float], losses: Mapping[int, float] | None = None) -> TrialState:
    """A trial with these values by epoch."""
    for epoch, value in values.items():
        trial.add(EvaluatedEpoch(epoch, value, (losses or values)[epoch]))
    return trial


class Killed(BaseException):
    """Stands for the end of the driver's process: nothing may catch it."""


@dataclass
class Bench:
    """One study folder driven over fake slots; every `search` or `full` is a call of its own."""

    plan: Plan
    world: World
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    watcher: Recorder = field(default_factory=Recorder)
    stop: Stop = field(default_factory=Stop)
    store: Store = field(default_factory=memory_store)
    slots: FakeSlots = field(init=False)
    state: StudyState = field(init=False)

    def search(self, kill_after: int | None = None, keeper: bool = False) -> Ending:
        study = open_search(self.store, self.plan)
        return self._drive(SearchStage(self.plan, study.load()), study, kill_after, keeper)

    def full(self, runs: Sequence[Promotion]) -> Ending:
        study = open_full(self.store, self.plan)
        return self._drive(FullStage(self.plan, study.load(), runs), study, None, False)

    def reopen(self, ledger: Ledger | None = None) -> int:
        """Opens a trial for each failed one, as `retry` does."""
        study = open_search(self.store, self.plan)
        return reopen_failed(ledger or Ledger(SearchStage(self.plan, study.load()), study, self.watcher))

    def rebuilt(self) -> StudyState:
        """What the store alone knows."""
        return open_search(self.store, self.plan).load()

    def _drive(self, stage: Stage, study: OptunaStudy, kill_after: int | None, keeper: bool) -> Ending:
        self.slots = FakeSlots(self.world, self.workers)
        if kill_after is not None:
            self.slots.on_wait = _countdown(kill_after)
        self.state = stage.state
        quota = CheckpointKeeper(self.plan) if keeper else None
        driver = Driver(
            Ledger(stage, study, self.watcher, quota),
            self.slots,
            self.limits,
            self.stop,
            clock=self.world.clock,
            seconds_before=stage.state.seconds_before,
        )
        return driver.run()

    def statuses(self) -> list[str]:
        return [trial.status for trial in self.state.in_order()]

    def with_plan(self, **changes: Any) -> Bench:
        """The same folder and world, taken up by another driver."""
        return replace(self, plan=replace(self.plan, **changes), watcher=Recorder(), stop=Stop())


def _countdown(count: int) -> Callable[[], None]:
    left = iter(range(count))

    def on_wait() -> None:
        if next(left, None) is None:
            raise Killed

    return on_wait


def sequence_numbers(state: StudyState) -> Iterator[int]:
    for trial in state.in_order():
        yield from (number for number, _ in trial.decisions)
