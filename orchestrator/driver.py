"""The driver: the one loop of a study, and the only writer of it.

until nothing is left to do, a limit is reached, or someone says stop:
    for each free slot:   policy.next → a new trial, or one to go on with → a slice for the slot
    for each event:       an evaluation → the study;  a slice's end → policy.judge → the study
                          an error, a dead process → its kind's policy
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.disk import CheckpointKeeper
from orchestrator.failures import LOST_RETRIES, SLOT_LOSSES, FailurePolicy
from orchestrator.plan import Limits
from orchestrator.policy.policy import Ask, Continue
from orchestrator.slots.slot import Beat, Ended, Evaluated, Event, Failed, Lost, Slice, Slot, Slots, Started
from orchestrator.space import as_json
from orchestrator.stage import Stage, base_values, inside
from orchestrator.state import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING, TrialState
from orchestrator.watcher import Watcher
from trainer.api import Evaluation, Outcome, dump_yaml, write_whole

_STOP_SECONDS = 25.0
_WAIT_SECONDS = 0.25
_TIME_KEPT_SECONDS = 10.0

Ending = Literal["done", "limit", "disk", "failures", "stopped"]
_NO_NEW_SLICES = ("limit", "disk")


@dataclass
class Stop:
    """Set from a signal handler: which signal, and how often."""

    number: int = 0
    times: int = 0

    def __call__(self, number: int) -> None:
        self.number, self.times = number, self.times + 1


@dataclass
class Driver:
    """Runs one stage over the slots. `clock` is monotonic, so that the wall clock may jump."""

    stage: Stage
    slots: Slots
    limits: Limits
    watcher: Watcher
    stop: Stop
    keeper: CheckpointKeeper | None = None
    clock: Callable[[], float] = time.monotonic
    seconds_before: float = 0.0
    slot_seconds_elsewhere: float = 0.0
    ending: Ending = "done"
    why: str = ""
    _started: float = 0.0
    _time_kept: float = 0.0
    _failures: FailurePolicy = field(init=False)

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
            self.watcher.tick(self.stage)
        if self.ending in _NO_NEW_SLICES:
            self._pause_running(self.why)
        self.stage.study.spent(self.seconds())
        return self.ending

    def seconds(self) -> float:
        """How long the study has run over all calls."""
        return self.seconds_before + self.clock() - self._started

    def _keep_time(self) -> None:
        """Writes the time spent now and then, so that a kill does not give it back."""
        if self.clock() - self._time_kept > _TIME_KEPT_SECONDS:
            self._time_kept = self.clock()
            self.stage.study.spent(self.seconds())

    def _check_limits(self) -> None:
        why = self._limit() if self.ending == "done" else ""
        if why:
            self.ending, self.why = "limit", f"limit reached: {why}"
            self.watcher.line(self.why)

    def _limit(self) -> str:
        limits = self.limits
        if limits.timeout_seconds is not None and self.seconds() >= limits.timeout_seconds:
            return f"{limits.timeout_seconds:.0f} s of study time"
        spent = (self.stage.state.slot_seconds() + self.slot_seconds_elsewhere) / 3600.0
        if limits.max_gpu_hours is not None and spent >= limits.max_gpu_hours:
            return f"{limits.max_gpu_hours:g} slot-hours"
        return ""

    def _judge_interrupted(self) -> None:
        """A kill may have come between an evaluation, or a duplicate, and its judgement: it is given now."""
        for trial in self.stage.state.with_status(RUNNING, PAUSED):
            if trial.origin is not None:
                self._take_over(trial, self.stage.state.trials[trial.origin])
            elif trial.values:
                self._judge(trial, "")

    def _fill_slots(self) -> None:
        for slot in sorted(self.slots.slots, key=lambda slot: slot.name):
            while slot.busy_with is None and slot.name not in self._failures.aside:
                if not self._start_something(slot):
                    return

    def _start_something(self, slot: Slot) -> bool:
        busy = {other.busy_with for other in self.slots.slots if other.busy_with is not None}
        step = self.stage.policy.next(self.stage.state, busy) if self.ending not in _NO_NEW_SLICES else None
        if isinstance(step, Ask):
            if self.ending == "failures":
                return False  # what runs is finished, nothing new begins
            trial = self._ask(step.index)
            if trial.is_final:
                return True
            step = Continue(trial.number, 1)
        if step is None:
            return False
        trial = self.stage.state.trials[step.number]
        config = self.stage.config(trial)
        folder = self.stage.folder(trial)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.yaml").exists():
            write_whole(folder / "config.yaml", dump_yaml(config.plain()))
            write_whole(folder / "overrides.json", f"{as_json(dict(trial.overrides))}\n")
        if trial.status == PAUSED:
            trial.status = RUNNING
            self._record(trial, f"{self.stage.label(trial)} goes on after epoch {trial.epochs}")
        slot.submit(
            Slice(
                name=str(folder),
                number=trial.number,
                config=config.plain(),
                rung=trial.rung,
                until_epoch=step.until_epoch,
                known_epoch=trial.epochs,
                log_file=str(folder / "log.txt"),
            )
        )
        return True

    def _ask(self, index: int) -> TrialState:
        """Opens a trial; one whose configuration is known already takes the earlier result."""
        trial = self.stage.new_trial(index)
        state = self.stage.state
        origin = state.original(trial.config_key)
        if origin is not None:
            trial.origin = origin.number
        self.stage.study.add(trial, base_values(self.stage.plan))
        state.trials[trial.number] = trial
        if origin is not None:
            self._take_over(trial, origin)
        else:
            self.watcher.changed(self.stage, trial, final=False)
        return trial

    def _take_over(self, trial: TrialState, origin: TrialState) -> None:
        """Gives a duplicate its original's result."""
        trial.take_result(origin)
        words = f"{trial.status}: the same configuration as trial {origin.trial_id}"
        self._record(trial, f"{self.stage.label(trial)} {words}")

    def _handle_events(self) -> None:
        for slot in self.slots.slots:
            for event in slot.poll():
                self._handle(slot, event)

    def _handle(self, slot: Slot, event: Event) -> None:
        trial = self.stage.state.trials[event.number]
        if isinstance(event, Beat):
            self.watcher.beat(self.stage, slot, event)
        elif isinstance(event, Evaluated):
            self._evaluated(trial, event.evaluation)
        elif isinstance(event, Ended):
            self._failures.slice_ended(slot.name)
            self._ended(trial, event.outcome)
        elif isinstance(event, Failed):
            self._failures.slice_failed(slot.name)
            self._fail(trial, event.kind, event.line)
        elif isinstance(event, Lost):
            self._lost(slot, trial, event)
        else:
            assert isinstance(event, Started), "no other event"

    def _evaluated(self, trial: TrialState, evaluation: Evaluation) -> None:
        if evaluation.epoch in trial.values:
            return
        trial.values[evaluation.epoch] = evaluation.value
        trial.losses[evaluation.epoch] = evaluation.metrics["val_loss"]
        trial.step = evaluation.step
        trial.seconds += evaluation.seconds
        self.stage.policy.learn(trial, evaluation.epoch, evaluation.value)
        self.stage.study.evaluated(trial, evaluation.epoch)
        self.watcher.changed(self.stage, trial, final=False)

    def _ended(self, trial: TrialState, outcome: Outcome) -> None:
        trial.checkpoint = inside(outcome.checkpoint, self.stage.plan.folder)
        trial.device = f"{outcome.device}, {outcome.precision}"
        if outcome.ending == "interrupted":
            return  # its checkpoint stands; the policy takes it up again, in this call or in the next
        self._judge(trial, _why_ended(outcome.ending, outcome.reason, trial, self.stage.epochs(trial)))

    def _judge(self, trial: TrialState, stopped_because: str) -> None:
        verdict = self.stage.policy.judge(trial, self.stage.state, stopped_because)
        if verdict.action == "go_on":
            self.stage.study.kept(trial)
            return
        trial.status = COMPLETED if verdict.action == "complete" else PRUNED
        self._record(trial, f"{self.stage.label(trial)} {trial.status} {verdict.reason}")
        self.stage.policy.closed(trial)

    def _lost(self, slot: Slot, trial: TrialState, event: Lost) -> None:
        label, times = self.stage.label(trial), self.stage.state.lost_before(trial)
        others = [s for s in self.slots.slots if s is not slot and s.name not in self._failures.aside]
        if self._failures.slice_lost(slot.name, len(others)):
            self.watcher.line(f"{slot.name} lost {SLOT_LOSSES} slices in a row and is set aside")
        if times < LOST_RETRIES:
            trial.retries += 1
            words = f"goes on from its checkpoint (retry {times + 1} of {LOST_RETRIES})"
            self._record(trial, f"{label} {event.kind} on {slot.name}: {event.line}; {words}")
        else:
            self._fail(trial, event.kind, f"{event.line}, {times + 1} times")

    def _fail(self, trial: TrialState, kind: str, line: str) -> None:
        if kind == "disk":  # no fault of the trial: it waits for room with its last checkpoint
            self.ending, self.why = "disk", line
            return
        trial.status, trial.failure_kind, trial.failure_line = FAILED, kind, line
        self._record(trial, f"{self.stage.label(trial)} failed ({kind}): {line}")
        self.stage.policy.closed(trial)
        self._give_up(self._failures.give_up(kind, line, self.stage.state))

    def _give_up(self, why: str) -> None:
        if why and self.ending == "done":
            self.ending, self.why = "failures", why
            self.watcher.line(f"no new trials: {why}")

    def _record(self, trial: TrialState, line: str) -> None:
        """One line for every change of a trial's state: in the log, in the study, in the CSV."""
        state = self.stage.state
        state.sequence += 1
        trial.reason = line
        trial.decisions.append((state.sequence, line))
        self.stage.study.decided(trial)
        self.watcher.line(line)
        self.watcher.changed(self.stage, trial, final=trial.is_final)
        if trial.is_final and self.keeper is not None:
            for other in self.keeper.trim(self.stage.state):
                self.stage.study.dropped(other)
                self.watcher.line(f"checkpoints of {self.stage.label(other)} deleted (--max-checkpoint-gb)")

    def _wind_down(self) -> Ending:
        """Asks every slot to checkpoint and end; what is not done in time, or at a second Ctrl-C, is killed."""
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
        self._pause_running("the driver was stopped")
        self.stage.study.spent(self.seconds())
        self.ending = "stopped"
        return self.ending

    def _pause_running(self, why: str) -> None:
        for trial in self.stage.state.with_status(RUNNING):
            trial.status = PAUSED
            self._record(trial, f"{self.stage.label(trial)} paused after epoch {trial.epochs}: {why}")


def _why_ended(ending: str, reason: str, trial: TrialState, epochs: int) -> str:
    """Why a run came to its end before its last epoch; empty where it did not."""
    if ending == "early":
        return reason
    return "training.max_iter was reached" if ending == "finished" and trial.epochs < epochs else ""
