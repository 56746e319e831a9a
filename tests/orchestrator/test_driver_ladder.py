"""The driver on a ladder: trials rest and go on over any number of calls, slots and kills."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage
from orchestrator_parts import LR, Bench, Fault, Killed, World

from orchestrator.engine.promotion import chosen
from orchestrator.samplers.table import SAMPLERS
from orchestrator.storage.store import OptunaStore, open_store
from orchestrator.storage.writers import Change, SqlWriter
from orchestrator.study.folder import run_name
from orchestrator.study.plan import Limits
from orchestrator.study.ranking import ranked
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING

MakeBench = Callable[..., Bench]
A, B, C, D, E, F = 0.1, 0.2, 0.3, 0.4, 0.5, 0.6
CURVES: dict[float, Sequence[float]] = {
    A: (1.0, 2.0, 3.0), B: (5.0, 6.0, 7.0), C: (3.0, 4.0, 5.0), D: (9.0, 9.0, 9.0),
}  # fmt: skip
LADDER: dict[str, Any] = {
    "ladder": "1x10@32,3x30@32",
    "budget": {},
    "search": {"pruner": {"name": "halving", "reduction_factor": 2}},
}
STORY = [  # by hand: of two the best goes on, of four the best two
    "trial 1 paused at rung 1 of 2 (1 epoch, 10 images @32): BLEU 1 is 1st of 1, and of every 2 one goes on",
    "trial 2 goes on to rung 2 of 2 (3 epochs, 30 images @32): at rung 1 BLEU 5 is 1st of 2, the cut is 5",
    "trial 2 completed at rung 2 of 2 (3 epochs, 30 images @32): BLEU 7",
    "trial 3 paused at rung 1 of 2 (1 epoch, 10 images @32): BLEU 3 is 2nd of 3, the cut is 5",
    "trial 4 goes on to rung 2 of 2 (3 epochs, 30 images @32): at rung 1 BLEU 9 is 1st of 4, the cut is 5",
    "trial 4 completed at rung 2 of 2 (3 epochs, 30 images @32): BLEU 9",
]

ENDS = [  # status, rung, epochs, results, the last line
    (PAUSED, 1, 1, {1: 1.0}, STORY[0]),
    (COMPLETED, 2, 3, {1: 5.0, 2: 7.0}, STORY[2]),
    (PAUSED, 1, 1, {1: 3.0}, STORY[3]),
    (COMPLETED, 2, 3, {1: 9.0, 2: 9.0}, STORY[5]),
]
TRAINED = {"0001": 1, "0002": 3, "0003": 1, "0004": 3}


def ends(state: StudyState) -> list[Any]:
    return [(t.status, t.rung, t.epochs, t.results, t.reason) for t in state.in_order()]


def known(state: StudyState) -> list[Any]:
    return [(t.overrides, t.status, t.rung, t.values, t.results, t.reason) for t in state.in_order()]


def test_every_change_is_a_line_with_its_numbers(bench: MakeBench) -> None:
    b = bench(CURVES, **LADDER)
    assert b.search() == "done"
    assert b.watcher.lines == STORY
    assert ends(b.state) == ENDS
    assert b.world.epochs_trained == TRAINED
    decisions = sorted(decision for t in b.rebuilt().in_order() for decision in t.decisions)
    assert decisions == list(enumerate(STORY, start=1))


def test_who_rests_goes_on_later_in_the_slot_that_is_free(bench: MakeBench) -> None:
    """The second of four is among the best two of six: it is taken up from its rest."""
    b = bench({**CURVES, E: (2.0, 2.0, 2.0), F: (2.5, 2.5, 2.5)}, **LADDER)
    b.search()
    words = "goes on to rung 2 of 2 (3 epochs, 30 images @32): at rung 1 BLEU 3 is 3rd of 6, the cut is 3"
    assert b.watcher.lines[-2:] == [
        f"trial 3 {words}",
        "trial 3 completed at rung 2 of 2 (3 epochs, 30 images @32): BLEU 5",
    ]
    slices = [(work.rung, work.until_epoch, work.known_epoch) for _, work in b.world.submitted if work.number == 2]
    assert slices == [(1, 1, 0), (2, 3, 1)]
    assert b.world.epochs_trained["0003"] == 3
    rungs = [evaluation.rung for evaluation in b.world.trained[str(b.plan.folder / "trials" / "0003")]]
    assert rungs == [1, 2, 2]


def test_a_slice_carries_its_rungs_configuration(bench: MakeBench) -> None:
    b = bench(CURVES, **{**LADDER, "ladder": "1x10@32,2x20@32,3x30@48", "search": {"pruner": "none"}})
    b.search()
    assert b.statuses() == [COMPLETED] * 4
    seen = [
        (w.rung, w.config["training"]["epochs"], w.config["training"]["subset_size"], w.config["data"]["image_size"])
        for _, w in b.world.submitted[:3]
    ]
    assert seen == [(1, 1, 10, 32), (2, 2, 20, 32), (3, 3, 30, 48)]
    for _, work in b.world.submitted:
        assert work.config["training"]["schedule_epochs"] == 3
        assert work.config["data"]["val_subset_size"] == 200
    folder = b.plan.folder / "trials" / "0001"
    assert "image_size: 48" in (folder / "config.yaml").read_text(encoding="utf-8"), "as on its highest rung"
    assert json.loads((folder / "overrides.json").read_text(encoding="utf-8")) == {LR: A}


def test_without_a_pruner_each_trial_climbs_in_one_go_and_keeps_its_slot(bench: MakeBench) -> None:
    b = bench(CURVES, **{**LADDER, "search": {"pruner": "none"}}, workers=2)
    b.search()
    assert b.statuses() == [COMPLETED] * 4
    slots = {number: {slot for slot, w in b.world.submitted if w.number == number} for number in range(4)}
    assert all(len(used) == 1 for used in slots.values())
    assert "trial 1 passes rung 1 of 2 (1 epoch, 10 images @32): BLEU 1" in b.watcher.lines


@pytest.mark.parametrize("calls", [[1, 2, 3, 4], [2, 4], [3, 4, 4]])
def test_any_number_of_calls_gives_the_same_trials_and_decisions(bench: MakeBench, calls: list[int]) -> None:
    b = bench(CURVES, **LADDER)
    lines = []
    for total in calls:
        part = b.with_plan(n_trials=total)
        assert part.search() == "done"
        lines += part.watcher.lines
    assert lines == STORY
    assert b.world.epochs_trained == TRAINED


@pytest.mark.parametrize("workers", [2, 3])
def test_several_slots_train_no_epoch_twice(bench: MakeBench, workers: int) -> None:
    b = bench({**CURVES, E: (2.0, 2.0, 2.0), F: (2.5, 2.5, 2.5)}, **LADDER, workers=workers)
    b.search()
    assert b.statuses().count(COMPLETED) >= 3
    assert not b.state.with_status(RUNNING)
    assert b.world.epochs_trained == {f"{t.trial_id:04d}": t.epochs for t in b.state.in_order()}


@pytest.mark.parametrize("waits", range(8))
def test_a_kill_between_any_two_epochs_changes_nothing(bench: MakeBench, waits: int) -> None:
    b = bench(CURVES, **LADDER)
    with pytest.raises(Killed):
        b.search(kill_after=waits)
    again = b.with_plan()
    again.search()
    assert ends(again.state) == ends(again.rebuilt()) == ENDS
    assert b.world.epochs_trained == TRAINED


def twin(b: Bench) -> Bench:
    """The same study, undisturbed, in a folder of its own."""
    plan = replace(b.plan, name="twin", folder=b.plan.folder.parent / "twin")
    other = Bench(plan, World(b.world.curves), workers=b.workers)
    other.search()
    return other


class MortalStorage(InMemoryStorage):
    """Kills the driver before or after its `nth` write."""

    def __init__(self, nth: int, after: bool) -> None:
        super().__init__()
        self.left, self.after = nth, after

    def _mortal(self, write: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        result = write()
        if self.left == 0:
            raise Killed
        return result

    def create_new_trial(self, *args: Any, **more: Any) -> int:
        trial_id: int = self._mortal(lambda: super(MortalStorage, self).create_new_trial(*args, **more))
        return trial_id

    def set_trial_intermediate_value(self, *args: Any) -> None:
        self._mortal(lambda: super(MortalStorage, self).set_trial_intermediate_value(*args))

    def set_trial_user_attr(self, *args: Any) -> None:
        self._mortal(lambda: super(MortalStorage, self).set_trial_user_attr(*args))

    def set_trial_state_values(self, *args: Any) -> bool:
        done: bool = self._mortal(lambda: super(MortalStorage, self).set_trial_state_values(*args))
        return done

    def set_study_user_attr(self, *args: Any) -> None:
        self._mortal(lambda: super(MortalStorage, self).set_study_user_attr(*args))


def searched_and_promoted(b: Bench) -> tuple[list[Any], list[Any]]:
    """A study to its end, and what the store alone knows of its trials and promoted runs."""
    b.search()
    search = b.state
    b.full(chosen(b.plan, search, 1, 2))
    assert known(search) == known(b.rebuilt())
    return known(search), [(run_name(run), run.status, run.values, run.reason) for run in b.state.in_order()]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_driver_that_dies_at_any_of_its_writes_loses_nothing(bench: MakeBench, after: bool) -> None:
    """At every one of them, and the next call continues: same trials, same decisions, no epoch twice."""
    curves = {rate: (*curve, 9.0, 9.0, 9.0) for rate, curve in CURVES.items()}
    plan = bench(curves, listed=[A, B, B, C, D], **LADDER).plan
    whole = Bench(plan, World(curves))
    undisturbed = searched_and_promoted(whole)
    for nth in itertools.count(1):
        killed = Bench(plan, World(curves), store=OptunaStore(MortalStorage(nth, after), "memory"))
        try:
            searched_and_promoted(killed)
        except Killed:
            assert searched_and_promoted(killed.with_plan()) == undisturbed, f"write {nth}"
            assert killed.world.epochs_trained == whole.world.epochs_trained, f"write {nth}"
        else:
            break
    assert nth > 60, "a write for every value, attribute and state"


@pytest.mark.parametrize("nth", [1, 2, 5, 9, 14])
def test_a_kill_between_two_transactions_of_a_database_loses_nothing(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    b = replace(bench(CURVES, **LADDER))
    b.store = open_store(b.plan.storage_url)
    calls, write = iter(range(1, 1000)), SqlWriter.write

    def killed(self: SqlWriter, trial_id: int, change: Change) -> None:
        if next(calls) == nth:
            raise Killed
        write(self, trial_id, change)

    with monkeypatch.context() as patch:
        patch.setattr(SqlWriter, "write", killed)
        with pytest.raises(Killed):
            b.search()
    again = b.with_plan()
    again.search()
    assert ends(again.state) == ends(again.rebuilt()) == ENDS
    assert b.world.epochs_trained == TRAINED


def test_ctrl_c_between_rungs_pauses_and_the_next_call_goes_on_there(bench: MakeBench) -> None:
    b = bench(CURVES, **LADDER)

    def on_tick(_stage: object) -> None:
        if b.state.trials.get(1) is not None and b.state.trials[1].epochs == 2:
            b.stop(2)

    b.watcher.on_tick = on_tick
    assert b.search() == "stopped"
    assert b.watcher.lines[-1] == "trial 2 paused after epoch 2: the driver was stopped"
    assert [t.status for t in b.rebuilt().in_order()] == [PAUSED, PAUSED]
    again = b.with_plan()
    again.search()
    assert again.watcher.lines[0] == "trial 2 goes on after epoch 2"
    assert again.watcher.lines[1:] == STORY[2:]


def test_a_limit_leaves_what_rests_resting(bench: MakeBench) -> None:
    b = bench(CURVES, **LADDER, limits={"timeout": "25s"})
    assert b.search() == "limit"
    assert b.statuses() == [PAUSED, PAUSED]
    longer = b.with_plan()
    longer.limits = Limits()
    longer.search()
    assert longer.statuses() == [PAUSED, COMPLETED, PAUSED, COMPLETED]
    assert b.world.epochs_trained == TRAINED


def test_a_duplicate_follows_its_original_from_rest_to_rung(bench: MakeBench) -> None:
    b = bench({**CURVES, E: (2.0, 2.0, 2.0)}, listed=[C, C, A, B, D, E, A], **LADDER)
    b.search()
    copy, original = b.state.trials[1], b.state.trials[0]
    assert (copy.origin, copy.status, copy.rung, copy.results) == (0, original.status, original.rung, original.results)
    assert copy.seconds == 0.0
    assert not (b.plan.folder / "trials" / "0002").exists()
    assert b.state.trials[6].reason == "trial 7 paused: the same configuration as trial 3"
    of = {int(line.split(" of ")[2].split(",")[0]) for line in b.watcher.lines if " is " in line}
    assert max(of) == 5, "copies do not compete"
    assert known(b.rebuilt()) == known(b.state)


def test_a_copy_stays_behind_no_longer_than_its_original_rests(bench: MakeBench) -> None:
    """A second of two rests, its copy with it; among four both go on."""
    b = bench(CURVES, listed=[D, B, B, A, C], **LADDER)
    b.search()
    assert [line for _, line in b.state.trials[2].decisions] == [
        "trial 3 paused: the same configuration as trial 2",
        "trial 3 running: the same configuration as trial 2",
        "trial 3 completed: the same configuration as trial 2",
    ]
    assert (b.state.trials[2].status, b.state.trials[2].value) == (COMPLETED, 7.0)


def test_a_failure_on_a_higher_rung(bench: MakeBench) -> None:
    b = bench(CURVES, {"faults": {(B, 2): [Fault("nan", "the loss is nan")]}}, **LADDER)
    b.search()
    assert b.statuses() == [PAUSED, FAILED, PAUSED, COMPLETED]
    assert b.state.trials[1].results == {1: 5.0}
    assert ranked(b.state, b.plan.metric)[0].trial_id == 4


def test_a_lost_slice_goes_on_within_its_rung(bench: MakeBench) -> None:
    b = bench(CURVES, {"faults": {(B, 3): [Fault("lost", "killed")]}}, **LADDER)
    b.search()
    assert (b.state.trials[1].status, b.state.trials[1].retries) == (COMPLETED, 1)
    assert b.world.epochs_trained["0002"] == 3


def test_a_run_that_stops_itself_on_a_low_rung_rests_there(bench: MakeBench) -> None:
    ladder = {**LADDER, "ladder": "2x10@32,3x30@32"}
    b = bench(CURVES, {"early": {A: (1, "no lower loss")}}, **ladder)
    b.search()
    first = b.state.trials[0]
    assert (first.status, first.epochs, first.results) == (PAUSED, 1, {1: 1.0})
    assert first.reason.endswith("and of every 2 one goes on; stopped early at epoch 1: no lower loss")
    again = b.with_plan()
    again.search()
    assert again.watcher.lines == []


def test_checkpoints_beyond_the_limit_cost_the_least_likely_its_future(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for two: completed ones lose theirs first, then the worst that rest, which are pruned; the best never."""
    b = bench({**CURVES, E: (2.0, 2.0, 2.0)}, **LADDER, limits={"max_checkpoint_gb": 2e-6})
    finished = World.evaluate

    def with_file(self: World, work: Any) -> Any:
        folder = Path(work.name) / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "last.pth").write_bytes(b"x" * 1000)
        return finished(self, work)

    monkeypatch.setattr(World, "evaluate", with_file)
    b.search(keeper=True)
    assert b.statuses() == [PRUNED, COMPLETED, PAUSED, COMPLETED, PRUNED]
    assert "checkpoints of trial 1 deleted (--max-checkpoint-gb)" in b.watcher.lines
    assert b.state.trials[0].reason == "trial 1 pruned at rung 1: its checkpoint had to make room"
    left = sorted(path.parts[-3] for path in b.plan.folder.glob("trials/*/checkpoints/last.pth"))
    assert left == ["0003", "0004"]
    assert [bool(t.checkpoint) for t in b.rebuilt().in_order()] == [f"{n:04d}" in left for n in range(1, 6)]


@pytest.mark.parametrize("name", ["median", "successive_halving", "hyperband"])
def test_on_one_rung_optunas_pruners_decide_the_same_over_any_number_of_calls(bench: MakeBench, name: str) -> None:
    curves = {A: (5.0, 5.0, 5.0), B: (1.0, 1.0, 1.0), C: (9.0, 9.0, 9.0), D: (4.0, 9.0, 9.5), E: (6.0, 1.0, 7.0)}
    options = {"n_startup_trials": 1} if name == "median" else {"reduction_factor": 2}
    b = bench(curves, search={"pruner": {"name": name, **options}})
    whole = twin(b)
    assert PRUNED in whole.statuses()
    for total in (1, 2, 3, 5):
        part = b.with_plan(n_trials=total)
        part.search()
    assert known(part.state) == known(whole.state)


# what a sampler chooses


SPACE = {LR: {"type": "categorical", "choices": [n / 100 for n in range(1, 13)]}}
MANY = {n / 100: (n * 37 % 11, n * 17 % 13, n) for n in range(1, 13)}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampled_study_in_parts_is_the_study_in_one(bench: MakeBench, name: str) -> None:
    options = {"n_startup_trials": 2} if name in ("tpe", "gp") else {}
    search = {**LADDER["search"], "sampler": {"name": name, **options}, "n_trials": 8}
    b = bench(MANY, listed=[0.05], search_space=SPACE, **{**LADDER, "search": search})
    whole = twin(b)
    assert len(whole.state.trials) == 8
    assert whole.state.trials[0].overrides == {LR: 0.05}
    lines = []
    for total in (1, 3, 4, 8):
        part = b.with_plan(n_trials=total)
        part.search()
        assert len(part.state.trials) == total
        lines += part.watcher.lines
    assert known(part.state) == known(whole.state)
    assert lines == whole.watcher.lines
    copies = [t for t in part.state.in_order() if t.origin is not None]
    assert len({t.overrides[LR] for t in part.state.in_order()}) == 8 - len(copies)
    assert set(b.world.epochs_trained) == {f"{t.trial_id:04d}" for t in part.state.in_order() if t.origin is None}


def test_an_exhausted_grid_ends_the_search_and_what_rests_stays(bench: MakeBench) -> None:
    search = {**LADDER["search"], "sampler": "grid", "n_trials": 50}
    b = bench(MANY, listed=[], search_space=SPACE, **{**LADDER, "search": search})
    assert b.search() == "done"
    assert sorted(t.overrides[LR] for t in b.state.in_order()) == sorted(MANY)
    assert b.watcher.lines.count("the search space is exhausted: no configuration is left to propose") == 1
    assert b.state.with_status(PAUSED)


def test_a_trial_added_to_the_list_is_the_next(bench: MakeBench) -> None:
    search = {**LADDER["search"], "sampler": "random", "n_trials": 3}
    b = bench(MANY, listed=[], search_space=SPACE, **{**LADDER, "search": search})
    b.search()
    longer = b.with_plan(trials=({LR: 0.07},), n_trials=5)
    longer.search()
    assert longer.state.trials[3].overrides == {LR: 0.07}
    assert [t.index for t in longer.state.in_order()] == [-1, -1, -1, 0, -1]


def test_values_that_break_a_constraint_together_fail_one_trial(bench: MakeBench) -> None:
    """Each is allowed by itself: momentum with sgd, and either type."""
    space = {
        LR: {"type": "categorical", "choices": [A]},
        "training.optimizer.type": {"type": "categorical", "choices": ["sgd", "adam"]},
        "training.optimizer.momentum": {"type": "categorical", "choices": [0.5]},
    }
    overrides = {"data.scenes.images": 60, "training.optimizer.type": "sgd"}
    search = {"sampler": "grid", "pruner": "none"}
    b = bench({A: (1.0, 2.0, 3.0)}, listed=[], search_space=space, overrides=overrides, search=search)
    assert b.search() == "done"
    failed = b.state.with_status(FAILED)[0]
    assert sorted(b.statuses()) == [COMPLETED, FAILED]
    assert failed.reason == f"trial {failed.trial_id} failed (config): training.optimizer: adam does not take momentum"


def test_a_retried_trial_does_not_compete_with_itself(bench: MakeBench) -> None:
    b = bench(CURVES, {"faults": {(D, 2): [Fault("nan", "the loss is nan")]}}, **LADDER)
    b.search()
    b.reopen()
    again = b.with_plan()
    again.search()
    assert again.statuses() == [PAUSED, COMPLETED, PAUSED, FAILED, COMPLETED]
    assert STORY[4].split(": ", 1)[1] in " ".join(again.watcher.lines), "the 1st of 4, as it was"


def test_a_retried_trial_goes_on_under_its_checkpoints_rung(bench: MakeBench) -> None:
    b = bench(CURVES, {"faults": {(D, 3): [Fault("nan", "the loss is nan")]}}, **LADDER)
    b.search()
    assert (b.state.trials[3].status, b.state.trials[3].rung, b.state.trials[3].epochs) == (FAILED, 2, 2)
    (b.plan.folder / "trials" / "0004" / "checkpoints").mkdir()
    (b.plan.folder / "trials" / "0004" / "checkpoints" / "last.pth").write_bytes(b"after epoch 2")
    folders = [str(b.plan.folder / "trials" / name) for name in ("0004", "0005")]
    b.world.trained[folders[1]] = list(b.world.trained[folders[0]])
    b.reopen()
    b.with_plan().search()
    retried = [work for _, work in b.world.submitted if work.number == 4]
    assert [work.rung for work in retried] == [2], "one slice, for the epoch that was missing"
