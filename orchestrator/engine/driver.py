"""The driver: the main loop of a study.

until nothing is left to do, a limit is reached, or a signal asks to stop:
    for each free slot:   policy.next → a new trial, or one to continue or to resume → a slice for a slot
    for each event:       an evaluation → the ledger;  a slice's end → the policy's verdict → the ledger
                          an error, a dead process → what its kind of failure means → the ledger
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.engine.failures import LOST_RETRIES, SLOT_LOSSES, FailurePolicy
from orchestrator.engine.ledger import Ledger
from orchestrator.engine.slot_clock import SlotClock
from orchestrator.engine.stage import Stage
from orchestrator.policies.policy import Climb, Continue
from orchestrator.policies.supply import Ask
from orchestrator.slots.slot import Beat, Ended, Evaluated, Event, Failed, Lost, Returned, Slice, Slot, Slots, Started
from orchestrator.study.folder import RunFolder
from orchestrator.study.plan import Limits
from orchestrator.study.space import as_json
from orchestrator.study.trial import PAUSED, RUNNING, TrialState
from trainer.api import ConfigError, dump_yaml, write_whole

_STOP_SECONDS = 25.0
_WAIT_SECONDS = 0.25
_TIME_KEPT_SECONDS = 10.0

Ending = Literal["done", "limit", "disk", "failures", "stopped"]
_NO_NEW_SLICES = ("limit", "disk")


@dataclass
class Stop:
    """The signal that asked to stop, and how often; called by the signal handler."""

    number: int = 0
    times: int = 0

    def __call__(self, number: int) -> None:
        self.number, self.times = number, self.times + 1


@dataclass
class Driver:
    """Runs the stage of a ledger on the slots. `clock` is monotonic: changes of the wall clock do not matter."""

    ledger: Ledger
    slots: Slots
    limits: Limits
    stop: Stop
    clock: Callable[[], float] = time.monotonic
    seconds_before: float = 0.0
    slot_seconds_elsewhere: float = 0.0
    ending: Ending = "done"
    why: str = ""
    _started: float = 0.0
    _time_kept: float = 0.0
    _failures: FailurePolicy = field(init=False)
    _times: SlotClock = field(default_factory=SlotClock)

    @property
    def stage(self) -> Stage:
        return self.ledger.stage

    def run(self) -> Ending:
        """Works until there is nothing left to do; returns how it ended."""
        self._started = self.clock()
        self._failures = FailurePolicy(self.limits.max_failures)
        self._give_up(self._failures.too_many(self.stage.state))
        self._judge_interrupted()
        while True:
            if self.stop.times:
                return self._wind_down()
            self._check_limits()
            self._fill_slots()
            if not any(slot.busy_with is not None for slot in self.slots.slots):
                break
            self.slots.wait(_WAIT_SECONDS)
            self._handle_events()
            self._keep_time()
            self.ledger.watcher.tick(self.stage)
        if self.ending in _NO_NEW_SLICES:
            self.ledger.pauses_all(self.why)
        self.ledger.spends(self.seconds())
        return self.ending

    def seconds(self) -> float:
        """How long the study has run in all calls."""
        return self.seconds_before + self.clock() - self._started

    def _keep_time(self) -> None:
        """Writes the time spent from time to time, so that it also counts after a kill."""
        if self.clock() - self._time_kept > _TIME_KEPT_SECONDS:
            self._time_kept = self.clock()
            self.ledger.spends(self.seconds())

    def _check_limits(self) -> None:
        why = self._limit() if self.ending == "done" else ""
        if why:
            self._takes_no_more("limit", f"limit reached: {why}")
            self.ledger.watcher.line(self.why)

    def _limit(self) -> str:
        limits = self.limits
        if limits.timeout_seconds is not None and self.seconds() >= limits.timeout_seconds:
            return f"{limits.timeout_seconds:.0f} s of study time"
        if limits.max_gpu_hours is not None:
            spent = (self.stage.state.slot_seconds() + self.slot_seconds_elsewhere) / 3600.0
            return f"{limits.max_gpu_hours:g} slot-hours" if spent >= limits.max_gpu_hours else ""
        return ""

    def _judge_interrupted(self) -> None:
        """Makes the decisions that a kill prevented: about a last evaluation, or about a duplicate."""
        for trial in self.stage.state.with_status(RUNNING, PAUSED):
            if trial.origin is not None:
                origin = self.stage.state.trials[trial.origin]
                if (trial.status, trial.rung) != (origin.status, origin.rung):
                    self.ledger.takes_over(trial, origin)
            elif trial.evaluations and (trial.status == RUNNING or trial.rung not in trial.results):
                self.ledger.judges(trial)

    def _fill_slots(self) -> None:
        while free := self._free_slots():
            if not self._start_something(free):
                return

    def _free_slots(self) -> list[Slot]:
        able = (slot for slot in self.slots.slots if slot.name not in self._failures.aside)
        return sorted((slot for slot in able if slot.busy_with is None), key=lambda slot: slot.name)

    def _start_something(self, free: list[Slot]) -> bool:
        """Takes the policy's next step; False where there is none to take."""
        if self.ending in _NO_NEW_SLICES:
            return False
        busy = {slot.busy_with for slot in self.slots.slots if slot.busy_with is not None}
        step = self.stage.policy.next(self.stage.state, busy)
        if step is None or (self.ending == "failures" and not isinstance(step, Continue)):
            return False  # after too many failures, running trials are finished, but none is started
        if isinstance(step, Continue):
            self._submit(self.stage.state.trials[step.number], step.until_epoch, free)
        elif isinstance(step, Climb):
            self.ledger.climbs(step)
        else:
            self._open(step)
        return True

    def _open(self, step: Ask) -> None:
        """Opens a trial; the policy's next step then trains it, unless it has ended already."""
        trial = self.ledger.opens(step.index)
        if trial is not None and trial.failure_kind:
            self._give_up(self._failures.give_up(trial.failure_kind, trial.failure_line, self.stage.state))

    def _submit(self, trial: TrialState, until_epoch: int, free: list[Slot]) -> None:
        """Gives a trial's next slice to a slot: the one that still has it in memory, if there is one."""
        if trial.status == PAUSED:
            self.ledger.resumes(trial)
        try:
            config = self.stage.config(trial)
        except ConfigError as error:
            self._fail(trial, error.kind, str(error).splitlines()[0])
            return
        folder = self.stage.plan.files.run(trial)
        folder.path.mkdir(parents=True, exist_ok=True)
        work = Slice(
            name=str(folder.path),
            number=trial.number,
            config=config,
            rung=trial.rung,
            until_epoch=until_epoch,
            known_epoch=trial.epochs,
            log_file=str(folder.log),
        )
        unfinished = {str(self.stage.plan.files.run(t).path) for t in self.stage.state.with_status(RUNNING)}
        best = min(free, key=lambda slot: (slot.holds != work.name, slot.holds in unfinished, slot.name))
        self._times.submitted(best.name, self.seconds())
        best.submit(work)
        self._write_inputs(folder, trial, config)

    def _write_inputs(self, folder: RunFolder, trial: TrialState, config: Mapping[str, Any]) -> None:
        """Writes a trial's configuration for people, again on every new rung; the slot is already working meanwhile."""
        if not folder.overrides.exists() or trial.epochs == self.stage.entered_at(trial):
            write_whole(folder.config, dump_yaml(config))
            write_whole(folder.overrides, f"{as_json(dict(trial.overrides))}\n")

    def _handle_events(self) -> None:
        for slot in self.slots.slots:
            for event in slot.poll():
                self._handle(slot, event)

    def _handle(self, slot: Slot, event: Event) -> None:
        trial = self.stage.state.trials[event.number]
        if isinstance(event, Beat):
            self.ledger.watcher.beat(self.stage, slot, event)
        elif isinstance(event, Evaluated):
            now = self.seconds()
            self.ledger.evaluated(trial, event.evaluation, slot.name, now, self._times.evaluated(slot.name, now))
        elif isinstance(event, Ended):
            self._failures.slice_ended(slot.name)
            self.ledger.ends(trial, event.outcome)
        elif isinstance(event, Failed):
            self._failures.slice_failed(slot.name)
            self._wasted(slot, trial, event.kind)
            self._fail(trial, event.kind, event.line)
        elif isinstance(event, Lost):
            self._lost(slot, trial, event)
        elif isinstance(event, Started):
            self._times.started(slot.name, self.seconds())
        else:
            assert isinstance(event, Returned), "no other event"  # still running, so the policy continues it

    def _wasted(self, slot: Slot, trial: TrialState, kind: str) -> None:
        now = self.seconds()
        self.ledger.wastes(trial, slot.name, self._times.broken(slot.name, now), now, kind)

    def _lost(self, slot: Slot, trial: TrialState, event: Lost) -> None:
        self._wasted(slot, trial, event.kind)
        times = self.stage.state.lost_before(trial)
        others = [s for s in self.slots.slots if s is not slot and s.name not in self._failures.aside]
        if self._failures.slice_lost(slot.name, len(others)):
            self.ledger.watcher.line(f"{slot.name} lost {SLOT_LOSSES} slices in a row and is set aside")
        if times < LOST_RETRIES:
            next_try = f"goes on from its checkpoint (retry {times + 1} of {LOST_RETRIES})"
            self.ledger.tries_again(trial, f"{event.kind} on {slot.name}: {event.line}; {next_try}")
        else:
            self._fail(trial, event.kind, f"{event.line}, {times + 1} times")

    def _fail(self, trial: TrialState, kind: str, line: str) -> None:
        if kind == "disk":  # not the trial's fault: it is paused with its last checkpoint until there is space
            self._takes_no_more("disk", line)
            return
        self.ledger.fails(trial, kind, line)
        self._give_up(self._failures.give_up(kind, line, self.stage.state))

    def _takes_no_more(self, ending: Ending, why: str) -> None:
        """Starts no new slices; running ones end after their epoch."""
        self.ending, self.why = ending, why
        for slot in self.slots.slots:
            slot.rest()

    def _give_up(self, why: str) -> None:
        if why and self.ending == "done":
            self.ending, self.why = "failures", why
            self.ledger.watcher.line(f"no new trials: {why}")

    def _wind_down(self) -> Ending:
        """Asks every slot to write a checkpoint and end; kills those that do not in time, or at a second Ctrl-C."""
        for slot in self.slots.slots:
            slot.stop()
        deadline = self.clock() + _STOP_SECONDS
        while any(slot.busy_with is not None for slot in self.slots.slots):
            if self.clock() > deadline or self.stop.times > 1:
                break
            self.slots.wait(_WAIT_SECONDS)
            self._handle_events()
        for slot in self.slots.slots:
            if slot.busy_with is not None:
                slot.kill("lost", "the driver was told to stop at once")
        self.ledger.pauses_all("the driver was stopped")
        self.ledger.spends(self.seconds())
        self.ending = "stopped"
        return self.ending
