"""What ends a study before its list does: failures of every kind, time, slot-hours."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from orchestrator_parts import LR, Bench, Fault, Killed

from orchestrator.engine.promotion import chosen
from orchestrator.study.plan import Limits
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, TrialState

MakeBench = Callable[..., Bench]
RISING = (10.0, 20.0, 30.0)
A, B, C, D = 0.1, 0.2, 0.3, 0.4


@pytest.mark.parametrize("kind", ["lost", "hung"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_lost_slice_is_tried_again_twice(bench: MakeBench, kind: str, times: int) -> None:
    b = bench({A: RISING}, {"faults": {(A, 2): [Fault(kind, "the process was killed by SIGKILL")] * times}})
    b.search()
    one = b.state.trials[0]
    assert one.retries == min(times, 2)
    first = f"trial 1 {kind} on slot 1: the process was killed by SIGKILL; goes on from its checkpoint (retry 1 of 2)"
    assert one.decisions[0][1] == first
    if times < 3:
        assert (one.status, one.value) == (COMPLETED, 30.0)
        assert b.world.epochs_trained["0001"] == 3
    else:
        assert (one.status, one.failure_kind) == (FAILED, kind)
        assert one.reason == f"trial 1 failed ({kind}): the process was killed by SIGKILL, 3 times"


def test_losses_count_over_calls(bench: MakeBench) -> None:
    b = bench({A: RISING}, {"faults": {(A, 2): [Fault("lost")] * 3}})

    def on_tick(_stage: object) -> None:
        if b.state.trials[0].retries == 1:
            b.stop(15)

    b.watcher.on_tick = on_tick
    assert b.search() == "stopped"
    again = b.with_plan()
    again.search()
    assert (again.statuses(), again.state.trials[0].retries) == ([FAILED], 2)


@pytest.mark.parametrize("kind", ["code", "config", "data"])
def test_three_same_failures_in_a_row_stop_the_study(bench: MakeBench, kind: str) -> None:
    curves = {A: RISING, B: RISING, C: RISING, D: RISING}
    b = bench(curves, {"faults": {(lr, 1): [Fault(kind, "KeyError: 'x'")] for lr in curves}})
    assert b.search() == "failures"
    assert b.statuses() == [FAILED] * 3
    assert b.watcher.lines[-1] == "no new trials: 3 trials in a row failed in the same way: KeyError: 'x'"


def test_a_success_in_between_breaks_the_row(bench: MakeBench) -> None:
    curves = {A: RISING, B: RISING, C: RISING, D: RISING}
    b = bench(curves, {"faults": {(lr, 1): [Fault("code", "the same")] for lr in (A, B, D)}})
    assert b.search() == "done"
    assert b.statuses() == [FAILED, FAILED, COMPLETED, FAILED]


def test_nan_failures_are_single_and_never_promoted(bench: MakeBench) -> None:
    curves = {A: (90.0, 91.0, 92.0), B: RISING, C: (90.0, 91.0, 92.0), D: (90.0, 91.0, 92.0)}
    b = bench(curves, {"faults": {(lr, 3): [Fault("nan", "the training loss is nan")] for lr in (A, C, D)}})
    assert b.search() == "done"
    assert b.statuses() == [FAILED, COMPLETED, FAILED, FAILED]
    assert b.state.trials[0].reason == "trial 1 failed (nan): the training loss is nan"
    assert [run.trial_id for run in chosen(b.plan, b.state, 4, 1)] == [2]


@pytest.mark.parametrize("workers", [1, 2])
def test_max_failures_is_a_total_and_what_runs_is_finished(bench: MakeBench, workers: int) -> None:
    curves = {A: RISING, B: RISING, C: RISING, D: RISING, 0.5: RISING, 0.6: RISING}
    faults = {(A, 1): [Fault("nan", "a")], (C, 2): [Fault("nan", "b")]}
    b = bench(curves, {"faults": faults}, workers=workers, limits={"max_failures": 2})
    assert b.search() == "failures"
    assert b.state.with_status("running", PAUSED) == []
    assert len(b.state.with_status(FAILED)) == 2
    assert len(b.state.trials) < 6
    assert "no new trials: 2 trials failed (--max-failures 2)" in b.watcher.lines


def test_max_failures_binds_the_next_call_too_until_it_is_raised(bench: MakeBench) -> None:
    b = bench({A: RISING, B: RISING}, {"faults": {(A, 1): [Fault("nan")]}}, limits={"max_failures": 1})
    assert b.search() == "failures"
    again = b.with_plan()
    assert again.search() == "failures"
    assert again.watcher.lines == ["no new trials: 1 trial failed (--max-failures 1)"]
    raised = b.with_plan()
    raised.limits = Limits(max_failures=2)
    assert raised.search() == "done"
    assert raised.statuses() == [FAILED, COMPLETED]


def test_a_slot_that_loses_three_in_a_row_is_set_aside(bench: MakeBench) -> None:
    curves = {A: RISING, B: RISING, C: RISING}
    b = bench(curves, {"faults": {(A, 1): [Fault("lost")] * 3}}, workers=2)
    b.search()
    assert b.statuses() == [FAILED, COMPLETED, COMPLETED]
    assert "slot 1 lost 3 slices in a row and is set aside" in b.watcher.lines
    after = [slot for slot, work in b.world.submitted if work.config["training"]["optimizer"]["lr"] == C]
    assert set(after) == {"slot 2"}


def test_the_last_slot_is_never_set_aside(bench: MakeBench) -> None:
    b = bench({A: RISING, B: RISING}, {"faults": {(A, 1): [Fault("lost")] * 3}})
    assert b.search() == "done"
    assert b.statuses() == [FAILED, COMPLETED]


def test_a_full_disk_pauses_and_costs_no_trial(bench: MakeBench) -> None:
    b = bench({A: RISING, B: RISING}, {"faults": {(A, 2): [Fault("disk", "no room")]}})
    assert b.search() == "disk"
    assert b.statuses() == [PAUSED]
    again = b.with_plan()
    assert again.search() == "done"
    assert again.statuses() == [COMPLETED, COMPLETED]
    assert b.world.epochs_trained["0001"] == 3


# time


def test_a_timeout_finishes_the_epoch_and_pauses(bench: MakeBench) -> None:
    b = bench({A: RISING, B: RISING}, limits={"timeout": "45s"})
    assert b.search() == "limit"
    assert b.statuses() == [COMPLETED, PAUSED]
    assert b.state.trials[1].epochs == 2  # the epoch that was running at 45 s is kept
    assert b.watcher.lines[-2:] == [
        "limit reached: 45 s of study time",
        "trial 2 paused after epoch 2: limit reached: 45 s of study time",
    ]


def test_time_adds_up_over_calls(bench: MakeBench) -> None:
    b = bench({A: RISING, B: RISING}, limits={"timeout": "45s"})
    b.search()
    assert b.rebuilt().seconds_before == 60.0  # its slot rests at the next look
    again = b.with_plan()
    count = len(b.world.submitted)
    assert again.search() == "limit"
    assert len(b.world.submitted) == count
    assert again.watcher.lines == ["limit reached: 45 s of study time"]
    longer = b.with_plan()
    longer.limits = Limits(timeout_seconds=1000)
    assert longer.search() == "done"
    assert longer.statuses() == [COMPLETED, COMPLETED]
    assert b.world.epochs_trained["0002"] == 3


def test_slot_hours_count_what_every_slot_spent(bench: MakeBench) -> None:
    b = bench({n / 10: RISING for n in range(1, 7)}, workers=3, limits={"max_gpu_hours": 60 / 3600})
    assert b.search() == "limit"
    assert b.state.slot_seconds() == 60.0
    assert b.watcher.lines[0] == "limit reached: 0.0166667 slot-hours"
    assert b.statuses() == [PAUSED] * 3
    assert [t.epochs for t in b.state.in_order()] == [2, 2, 2]


def test_the_wall_clock_may_jump(bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter([0.0, 4e9, -4e9] * 1000)
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    b = bench({A: RISING, B: RISING}, limits={"timeout": "10m"})
    assert b.search() == "done"
    assert b.rebuilt().seconds_before == 60.0


def test_a_limit_leaves_duplicates_for_later(bench: MakeBench) -> None:
    b = bench({A: RISING}, listed=[A, A], limits={"timeout": "15s"})
    assert b.search() == "limit"
    assert [t.overrides[LR] for t in b.state.in_order()] == [A]


def test_a_judgement_that_a_kill_put_off_is_given_without_training_again(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves = {A: RISING, B: RISING, C: (1.0, 2.0, 3.0)}
    b = bench(curves, search={"pruner": {"name": "median", "n_startup_trials": 2}})

    def die(_stage: object, trial: TrialState, final: bool) -> None:  # noqa: ARG001 - what a watcher is told
        if trial.overrides[LR] == C and trial.values:
            raise Killed

    monkeypatch.setattr(b.watcher, "changed", die)
    with pytest.raises(Killed):
        b.search()
    again = b.with_plan()
    again.search()
    assert again.statuses() == [COMPLETED, COMPLETED, PRUNED]
    assert (again.state.trials[2].epochs, b.world.epochs_trained["0003"]) == (1, 1)
