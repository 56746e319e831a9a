"""The driver over slots that replay tabulated curves on a clock of their own: no processes, no waiting."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orchestrator_parts import LR, Bench, Fault, Killed, World, rate, sequence_numbers

from orchestrator.engine.full_stage import Promotion
from orchestrator.engine.promotion import chosen
from orchestrator.storage.opening import open_search
from orchestrator.study.plan import Limits, Plan
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING
from trainer.api import read_yaml

MakeBench = Callable[..., Bench]
RISING = (10.0, 20.0, 30.0)
MEDIAN = {"pruner": {"name": "median", "n_startup_trials": 2}}
A, B, C, D = 0.1, 0.2, 0.3, 0.4


def test_without_a_pruner_every_trial_trains_to_the_end_in_order(bench: MakeBench) -> None:
    b = bench({C: RISING, A: RISING, B: RISING})
    assert b.search() == "done"
    assert [rate(work) for _, work in b.world.submitted] == [C, A, B]
    assert b.statuses() == [COMPLETED] * 3
    assert [t.values for t in b.state.in_order()] == [{1: 10.0, 2: 20.0, 3: 30.0}] * 3
    assert [t.evaluations[3].loss for t in b.state.in_order()] == [70.0] * 3
    assert [t.seconds for t in b.state.in_order()] == [30.0] * 3


def test_a_slice_says_what_the_slot_must_know(bench: MakeBench) -> None:
    b = bench({A: RISING}, search=MEDIAN)
    b.search()
    slices = [work for _, work in b.world.submitted]
    assert [(w.number, w.rung, w.known_epoch, w.until_epoch) for w in slices] == [
        (0, 1, 0, 1),
        (0, 1, 1, 2),
        (0, 1, 2, 3),
    ]
    config = slices[0].config
    folder = b.plan.folder / "trials" / "0001"
    assert {w.name for w in slices} == {str(folder)}
    assert slices[0].log_file == str(folder / "log.txt")
    assert config["checkpoint"]["dir"] == str(folder / "checkpoints")
    assert (config["training"]["epochs"], config["training"]["schedule_epochs"]) == (3, 3)
    assert config["training"]["subset_size"] == 30
    assert config["evaluation"]["beam_size"] == 1
    assert read_yaml(folder / "config.yaml") == config
    assert json.loads((folder / "overrides.json").read_text()) == {LR: A}


def test_weak_trials_are_pruned_with_rank_and_cut(bench: MakeBench) -> None:
    b = bench({A: RISING, B: (20.0, 30.0, 40.0), C: (1.0, 2.0, 3.0), D: (30.0, 40.0, 50.0)}, search=MEDIAN)
    b.search()
    assert b.statuses() == [COMPLETED, COMPLETED, PRUNED, COMPLETED]
    assert b.state.trials[2].reason == "trial 3 pruned at epoch 1 of 3: BLEU 1 is 3rd of 3, the median is 15"
    assert b.world.epochs_trained["0003"] == 1


@pytest.mark.parametrize("value", [29.999, 30.0, 30.001])
def test_the_threshold_is_strict_and_both_numbers_are_named(bench: MakeBench, value: float) -> None:
    b = bench({A: (0.0, 0.0, value)}, search={"pruner": "none", "early_stop_threshold": 30})
    b.search()
    assert b.statuses() == [PRUNED if value < 30 else COMPLETED]
    if value < 30:
        assert (
            b.state.trials[0].reason.endswith("BLEU 30 is below the threshold 30")
            or "29.99" in b.state.trials[0].reason
        )


def test_every_change_of_state_is_one_line_with_its_number(bench: MakeBench) -> None:
    faults = {(B, 2): [Fault("lost")], (D, 1): [Fault("nan", "the loss is nan")]}
    curves = {A: RISING, B: RISING, C: (0.0, 0.0, 0.0), D: RISING}
    b = bench(curves, {"faults": faults}, search=MEDIAN, listed=[A, B, C, D, A])
    b.search()
    said = [line for line in b.watcher.lines if line.startswith("trial")]
    recorded = sorted(decision for trial in b.state.in_order() for decision in trial.decisions)
    assert recorded == list(enumerate(said, start=1))
    assert sorted(sequence_numbers(b.state)) == list(range(1, 7))
    assert b.rebuilt().sequence == 6
    assert [t.reason for t in b.state.in_order()] == [said[0], said[2], said[3], said[4], said[5]]


def test_numbers_go_on_in_the_next_call(bench: MakeBench) -> None:
    b = bench({A: RISING, B: RISING, C: RISING})
    first = b.with_plan(n_trials=1)
    first.search()
    b.search()
    assert [t.decisions[0][0] for t in b.state.in_order()] == [1, 2, 3]


# duplicates


def test_a_duplicate_takes_the_earlier_result(bench: MakeBench) -> None:
    b = bench({A: RISING, B: (1.0, 2.0, 3.0)}, listed=[A, B, {"training.lr": "1e-1"}])
    b.search()
    copy = b.state.trials[2]
    assert (copy.status, copy.value, copy.origin, copy.seconds) == (COMPLETED, 30.0, 0, 0.0)
    assert copy.reason == "trial 3 completed: the same configuration as trial 1"
    assert set(b.world.epochs_trained) == {"0001", "0002"}
    assert not (b.plan.folder / "trials" / "0003").exists()


@pytest.mark.parametrize(("kind", "status"), [("nan", FAILED), ("", PRUNED)])
def test_a_duplicate_takes_any_result(bench: MakeBench, kind: str, status: str) -> None:
    faults = {(A, 1): [Fault(kind, "words")] * 9} if kind else {}
    b = bench(
        {A: (1.0, 1.0, 1.0)}, {"faults": faults}, listed=[A, A], search={"pruner": "none", "early_stop_threshold": 5}
    )
    b.search()
    assert b.statuses() == [status, status]
    assert b.state.trials[1].failure_kind == kind


def test_a_key_said_as_the_base_has_it_is_a_duplicate_of_saying_nothing(bench: MakeBench) -> None:
    b = bench({0.002: RISING}, listed=[{}, {LR: 0.002}])
    b.search()
    assert b.state.trials[1].origin == 0


def test_a_duplicate_follows_its_running_original_and_takes_no_slot(bench: MakeBench) -> None:
    b = bench({A: RISING, B: RISING}, listed=[A, A, B], workers=2)
    seen = []
    b.watcher.on_tick = lambda _: seen.append([(t.status, t.epochs) for t in b.state.in_order()])
    b.search()
    assert [t.overrides[LR] for t in b.state.in_order()] == [A, A, B]
    assert seen[0] == [(RUNNING, 1), (RUNNING, 0), (RUNNING, 1)]
    assert b.state.trials[1].origin == 0
    assert (b.statuses(), b.state.trials[1].value) == ([COMPLETED] * 3, 30.0)
    assert [line for _, line in b.state.trials[1].decisions] == [
        "trial 2 running: the same configuration as trial 1",
        "trial 2 completed: the same configuration as trial 1",
    ]
    assert set(b.world.epochs_trained) == {"0001", "0003"}


def test_a_duplicate_that_a_kill_left_without_its_result_gets_it_untrained(bench: MakeBench) -> None:
    b = bench({A: RISING}, listed=[A, A])
    b.with_plan(n_trials=1).search()
    study = open_search(b.store, b.plan)
    study.load()
    copy = b.rebuilt().trials[0]
    copy.number, copy.index, copy.origin = -1, 1, 0
    study.add(copy, {LR: 0.002})
    assert b.rebuilt().trials[1].status == RUNNING
    before = len(b.world.submitted)
    b.search()
    assert (b.state.trials[1].status, b.state.trials[1].seconds) == (COMPLETED, 0.0)
    assert len(b.world.submitted) == before


# how many, and going on


@pytest.mark.parametrize("calls", [[4], [1, 2, 3, 4], [2, 4], [4, 4]])
def test_any_number_of_calls_gives_the_same_trials(bench: MakeBench, calls: list[int]) -> None:
    b = bench({A: RISING, B: (20.0, 30.0, 40.0), C: (1.0, 2.0, 3.0), D: (12.0, 40.0, 50.0)}, search=MEDIAN)
    for total in calls:
        last = b.with_plan(n_trials=total)
        assert last.search() == "done"
    assert [(t.overrides[LR], t.status, t.epochs) for t in last.state.in_order()] == [
        (A, COMPLETED, 3), (B, COMPLETED, 3), (C, PRUNED, 1), (D, PRUNED, 1),
    ]  # fmt: skip
    assert sum(b.world.epochs_trained.values()) == 8


def test_a_finished_study_does_nothing_more(bench: MakeBench) -> None:
    b = bench({A: RISING})
    b.search()
    count = len(b.world.submitted)
    again = b.with_plan()
    assert again.search() == "done"
    assert len(b.world.submitted) == count
    assert again.watcher.lines == []


def test_added_trials_are_run_wherever_they_stand(bench: MakeBench) -> None:
    b = bench({A: RISING, B: RISING}, listed=[A])
    b.search()
    more = b.with_plan(trials=(*b.plan.trials, {LR: B}), n_trials=2)
    more.search()
    assert [t.overrides[LR] for t in more.state.in_order()] == [A, B]


table = st.lists(st.lists(st.integers(0, 9).map(float), min_size=3, max_size=3), min_size=3, max_size=5)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table, st.lists(st.integers(0, 7), max_size=3))
def test_killed_anywhere_it_ends_like_an_undisturbed_run(
    planned: Callable[..., Plan], tmp_path: Path, curves: list[list[float]], kills: list[int]
) -> None:
    by_rate = {(n + 1) / 10: curve for n, curve in enumerate(curves)}
    plan = planned(list(by_rate), search=MEDIAN)
    straight, killed = (Bench(_elsewhere(plan, tmp_path), World(by_rate)) for _ in range(2))
    straight.search()
    for after in kills:
        try:
            killed.search(kill_after=after)
        except Killed:
            continue
    killed.with_plan().search()

    def rows(b: Bench) -> list[object]:
        return [(t.trial_id, t.status, t.values, t.reason, t.decisions) for t in b.rebuilt().in_order()]

    assert rows(killed) == rows(straight)
    assert killed.world.epochs_trained == straight.world.epochs_trained


def _elsewhere(plan: Plan, home: Path) -> Plan:
    """The same plan in a fresh folder."""
    return replace(plan, folder=Path(tempfile.mkdtemp(dir=home)))


def test_work_that_was_done_but_not_recorded_is_recorded_without_training(bench: MakeBench) -> None:
    b = bench({A: RISING})
    with pytest.raises(Killed):
        b.search(kill_after=1)
    b.world.evaluate(b.world.submitted[0][1])  # trained to its checkpoint, then the driver died
    again = b.with_plan()
    again.search()
    assert again.state.trials[0].values == {1: 10.0, 2: 20.0, 3: 30.0}
    assert b.world.epochs_trained["0001"] == 3


def test_an_interrupted_trial_goes_first_and_says_so(bench: MakeBench) -> None:
    b = bench({A: RISING, B: RISING})
    stopping = b.with_plan()

    def on_tick(_stage: object) -> None:
        if stopping.state.trials[0].epochs == 2:
            stopping.stop(15)

    stopping.watcher.on_tick = on_tick
    assert stopping.search() == "stopped"
    assert stopping.statuses() == [PAUSED]
    assert stopping.watcher.lines == ["trial 1 paused after epoch 2: the driver was stopped"]
    again = b.with_plan()
    assert again.search() == "done"
    assert again.watcher.lines[0] == "trial 1 goes on after epoch 2"
    assert [t.overrides[LR] for t in again.state.in_order()] == [A, B]
    assert again.state.trials[0].values == {1: 10.0, 2: 20.0, 3: 30.0}


def test_a_second_signal_ends_what_does_not_stop(bench: MakeBench) -> None:
    b = bench({A: RISING})

    def on_tick(_stage: object) -> None:
        b.stop(2)
        b.stop(2)

    b.watcher.on_tick = on_tick
    assert b.search() == "stopped"
    assert b.statuses() == [PAUSED]
    assert all(slot.busy_with is None or slot.holds == "" for slot in b.slots.slots)


def test_a_run_that_stops_itself_is_completed_with_its_reason(bench: MakeBench) -> None:
    b = bench({A: RISING}, {"early": {A: (2, "no lower loss for 5 evaluations")}})
    b.search()
    one = b.state.trials[0]
    assert (one.status, one.epochs) == (COMPLETED, 2)
    assert one.reason.endswith("stopped early at epoch 2: no lower loss for 5 evaluations")


# several slots


def test_slots_share_the_work_and_none_trains_a_trial_twice(bench: MakeBench) -> None:
    b = bench({n / 10: RISING for n in range(1, 8)}, workers=3)
    b.search()
    assert b.statuses() == [COMPLETED] * 7
    assert set(b.world.epochs_trained.values()) == {3}
    assert {slot for slot, _ in b.world.submitted} == {"slot 1", "slot 2", "slot 3"}
    assert b.world.now - 1000.0 < 7 * 3 * 10.0


def test_what_is_written_is_what_is_known_after_every_event(bench: MakeBench) -> None:
    faults = {(B, 2): [Fault("lost")], (D, 1): [Fault("nan")]}
    curves = {A: RISING, B: RISING, C: (0.0, 0.0, 0.0), D: RISING}
    b = bench(curves, {"faults": faults}, search=MEDIAN, listed=[A, B, C, D, A], workers=2)
    ticks = []

    def on_tick(_stage: object) -> None:
        rebuilt = b.rebuilt()
        for number, known in b.state.trials.items():
            again = rebuilt.trials[number]
            if known.origin is None:
                # What no decision has completed yet is left to the checkpoint: never anything else.
                assert again.values.items() <= known.values.items()
                assert known.status == RUNNING or again == known
            assert (again.status, again.rung, again.reason) == (known.status, known.rung, known.reason)
            assert again.decisions == known.decisions
        assert rebuilt.sequence == b.state.sequence
        ticks.append(1)

    b.watcher.on_tick = on_tick
    b.search()
    assert len(ticks) >= 5
    assert b.rebuilt().trials == b.state.trials


# the promoted runs


def test_full_runs_train_the_base_budget_in_their_own_folders(bench: MakeBench) -> None:
    b = bench({A: [1.0] * 6, B: [2.0, 2.5, 3.0, 3.5, 4.0, 4.5]})
    b.search()
    runs = chosen(b.plan, b.state, 1, 2)
    assert b.full(runs) == "done"
    configs = [work.config for _, work in b.world.submitted if work.name.endswith("0002-seed1")]
    assert (configs[0]["training"]["epochs"], configs[0]["seed"], configs[0]["data"]["split_seed"]) == (6, 43, 42)
    assert configs[0]["training"]["subset_size"] is None
    assert configs[0]["evaluation"]["beam_size"] == 3
    assert [(t.source_trial, t.seed_index, t.epochs, t.status) for t in b.state.in_order()] == [
        (2, 0, 6, COMPLETED), (2, 1, 6, COMPLETED),
    ]  # fmt: skip
    again = b.with_plan()
    again.full([*runs, Promotion(1, 0, {LR: A})])
    assert [t.source_trial for t in again.state.in_order()] == [2, 2, 1]
    assert b.world.epochs_trained["0002-seed0"] == 6


# trying failed trials once more


def test_retry_opens_a_new_trial_for_each_failed_one(bench: MakeBench) -> None:
    faults = {(A, 2): [Fault("nan", "the loss is nan")]}
    b = bench({A: RISING, B: RISING}, {"faults": faults}, listed=[A, B])
    b.search()
    assert b.statuses() == [FAILED, COMPLETED]
    checkpoints = b.plan.folder / "trials" / "0001" / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "last.pth").write_bytes(b"weights")
    assert b.reopen() == 1
    assert b.reopen() == 0
    assert (b.plan.folder / "trials" / "0003" / "checkpoints" / "last.pth").read_bytes() == b"weights"
    again = b.with_plan()
    again.search()
    new = again.state.trials[2]
    assert (new.status, new.retry_of, new.retries, new.overrides) == (COMPLETED, 0, 1, {LR: A})
    assert again.statuses() == [FAILED, COMPLETED, COMPLETED]
    assert new.decisions[0][1] == "trial 3 tries trial 1 again, which failed (nan)"


def test_a_duplicate_asked_after_a_retry_takes_the_retrys_result(bench: MakeBench) -> None:
    b = bench({A: RISING}, {"faults": {(A, 1): [Fault("nan")]}}, listed=[A, A])
    b.with_plan(n_trials=1).search()
    b.reopen()
    b.search()
    assert b.statuses() == [FAILED, COMPLETED, COMPLETED]
    assert b.state.trials[2].origin == 1


def test_a_retried_trial_may_be_lost_as_often_as_a_new_one(bench: MakeBench) -> None:
    b = bench({A: RISING}, {"faults": {(A, 1): [Fault("lost")] * 5}})
    b.search()
    assert (b.statuses(), b.state.trials[0].retries) == ([FAILED], 2)
    b.reopen()
    again = b.with_plan()
    again.search()
    assert again.statuses() == [FAILED, COMPLETED]


def test_a_closed_study_asks_for_nothing(bench: MakeBench) -> None:
    b = bench({A: RISING, B: RISING}).with_plan(closed=True)
    assert b.search() == "done"
    assert b.statuses() == []


def test_checkpoints_are_trimmed_as_the_study_goes(bench: MakeBench) -> None:
    b = bench({A: RISING, B: (1.0, 2.0, 3.0)}, listed=[A, B])
    b = b.with_plan(limits=Limits(max_checkpoint_gb=1e-9))
    for number in (1, 2):
        folder = b.plan.folder / "trials" / f"000{number}" / "checkpoints"
        folder.mkdir(parents=True)
        (folder / "last.pth").write_bytes(b"x" * 100)
    b.search(keeper=True)
    assert "checkpoints of trial 2 deleted (--max-checkpoint-gb)" in b.watcher.lines
    assert [t.checkpoint != "" for t in b.rebuilt().in_order()] == [True, False]
    assert (b.plan.folder / "trials" / "0001" / "checkpoints" / "last.pth").exists()
    assert not (b.plan.folder / "trials" / "0002" / "checkpoints" / "last.pth").exists()
