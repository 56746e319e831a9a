"""A run that climbs a ladder: a rung is a prefix of the one above it, in memory and from a checkpoint, bit by bit."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from trainer_parts import metrics_lines, same, session_of, stop_after, tiny, trained, training_state, without_seconds

from trainer.api import CheckpointError, Hooks, Outcome
from trainer.checkpoints.files import BEST, LAST, load_checkpoint

SCHEDULES: dict[str, dict[str, Any]] = {
    "cosine": {"training__scheduler__type": "cosine", "training__scheduler__warmup_fraction": 0.2},
    "reduce_on_plateau": {"training__scheduler__type": "reduce_on_plateau", "training__scheduler__patience": 0},
    "one_cycle": {"training__scheduler__type": "one_cycle"},
}
VARIANTS: dict[str, dict[str, Any]] = {
    **SCHEDULES,
    "average of weights, groups": {"training__ema_decay": 0.9, "training__accumulate_grad_batches": 3},
    "2 workers": {"data__num_workers": 2},
}
TOP = {"training__epochs": 3}  # of a schedule of 4
WARM = {"training__scheduler__warmup_fraction": 0.2}
GROWTH: dict[str, dict[str, Any]] = {
    "subset": {"training__subset_size": 16},
    "size": {"data__image_size": 20},
    "validation": {"data__val_subset_size": 3},
    "subset and size": {"training__subset_size": 16, "data__image_size": 20},
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> dict[str, Any]:
    return VARIANTS[request.param]


def in_memory(folder: Path, rungs: list[dict[str, Any]], **settings: Any) -> Outcome:
    """Climbs in one session; each rung says how its configuration differs from the tiny one."""
    with session_of(tiny(folder, **settings, **rungs[0])) as session:
        outcome = session.train(rungs[0]["training__epochs"], Hooks())
        for number, rung in enumerate(rungs[1:], start=2):
            session.climb(tiny(folder, **settings, **rung), number)
            outcome = session.train(rung["training__epochs"], Hooks())
    return outcome


def from_checkpoints(folder: Path, rungs: list[dict[str, Any]], **settings: Any) -> Outcome:
    """The same, with a fresh session for each rung."""
    for number, rung in enumerate(rungs, start=1):
        with session_of(tiny(folder, **settings, **rung), rung=number, resume=True) as session:
            outcome = session.train(rung["training__epochs"], Hooks())
    return outcome


CLIMBS = pytest.mark.parametrize("climb", [in_memory, from_checkpoints], ids=["in memory", "from checkpoints"])


def comparable(folder: Path) -> dict[str, Any]:
    """A checkpoint without what a rung is meant to change: its number, and the best that starts afresh."""
    state = training_state(folder)
    state["progress"] = {k: v for k, v in state["progress"].items() if k not in ("rung", "best", "best_epoch")}
    state["history"] = [{k: v for k, v in item.items() if k != "rung"} for item in state["history"]]
    return state


@CLIMBS
def test_rungs_that_differ_in_epochs_alone_are_straight_training(
    climb: Any, variant: dict[str, Any], tmp_path: Path
) -> None:
    straight = trained(tiny(tmp_path / "straight", **TOP, **variant))
    outcome = climb(tmp_path / "run", [{"training__epochs": 1}, TOP], **variant)
    assert same(comparable(tmp_path / "run"), comparable(tmp_path / "straight"))
    lines = metrics_lines(tmp_path / "run")
    assert [line.pop("rung") for line in lines] == [1, 2, 2]
    assert lines == [{k: v for k, v in line.items() if k != "rung"} for line in metrics_lines(tmp_path / "straight")]
    assert (outcome.ending, outcome.epoch, outcome.step) == (straight.ending, straight.epoch, straight.step)


@pytest.mark.parametrize(
    ("growth", "kind"),
    [("subset", "one_cycle"), ("size", "cosine"), ("validation", "reduce_on_plateau"), ("subset and size", "cosine")],
)
def test_in_memory_and_from_a_checkpoint_are_the_same_where_data_and_size_grow(
    growth: str, kind: str, tmp_path: Path
) -> None:
    rungs = [{"training__epochs": 1, **GROWTH[growth]}, {"training__epochs": 2}]
    one = in_memory(tmp_path / "one", rungs, **SCHEDULES[kind])
    other = from_checkpoints(tmp_path / "other", rungs, **SCHEDULES[kind])
    assert same(training_state(tmp_path / "one"), training_state(tmp_path / "other"))
    assert same(training_state(tmp_path / "one", BEST), training_state(tmp_path / "other", BEST))
    assert metrics_lines(tmp_path / "one") == metrics_lines(tmp_path / "other")
    assert without_seconds(one.evaluations) == without_seconds(other.evaluations)


@pytest.mark.parametrize("settings", [{"data__num_workers": 2}, {"training__ema_decay": 0.9}], ids=["workers", "ema"])
def test_three_rungs_that_grow_in_everything(settings: dict[str, Any], tmp_path: Path) -> None:
    rungs = [
        {"training__epochs": 1, "training__subset_size": 12, "data__image_size": 20},
        {"training__epochs": 2, "training__subset_size": 20, "data__image_size": 20},
        {"training__epochs": 3},
    ]
    one = in_memory(tmp_path / "one", rungs, **settings, **WARM)
    from_checkpoints(tmp_path / "other", rungs, **settings, **WARM)
    assert same(training_state(tmp_path / "one"), training_state(tmp_path / "other"))
    assert [line["step"] for line in metrics_lines(tmp_path / "one")] == [3, 8, 16]
    assert [evaluation.rung for evaluation in one.evaluations] == [1, 2, 3]


def test_warm_up_in_steps_is_laid_over_the_rung_that_is_trained(tmp_path: Path) -> None:
    config = {"training__epochs": 1, "training__subset_size": 16, "training__scheduler__warmup_steps": 6}
    top = tiny(tmp_path, **{**config, "training__epochs": 2, "training__subset_size": None})
    with session_of(tiny(tmp_path, **config)) as session:
        session.train(1, Hooks())
        session.climb(top, 2)
        in_memory = session.run.schedule.warmup
    with session_of(top, rung=2, resume=True) as session:
        assert session.run.schedule.warmup == in_memory


def test_a_climber_sees_what_the_rung_says(tmp_path: Path) -> None:
    seen = {"training__epochs": 1, "training__subset_size": 16, "data__image_size": 20}
    with session_of(tiny(tmp_path, **seen)) as session:
        session.train(1, Hooks())
        assert (session.run.steps_per_epoch, session.run.progress.step) == (4, 4)
        session.climb(tiny(tmp_path, training__epochs=2), 2)
        assert session.run.steps_per_epoch == 8
        assert next(iter(session.run.loaders.train))["images"].shape[1:3] == (28, 28)
        assert (session.run.config.training.subset_size, session.run.config.data.image_size) == (None, 28)


@CLIMBS
def test_interrupted_on_the_higher_rung(climb: Any, tmp_path: Path) -> None:
    rungs = [{"training__epochs": 1, "training__subset_size": 16}, {"training__epochs": 2}]
    climb(tmp_path / "straight", rungs, **WARM)
    from_checkpoints(tmp_path / "run", rungs[:1], **WARM)
    top = tiny(tmp_path / "run", training__epochs=2, **WARM)
    with session_of(top, rung=2, resume=True) as session:
        assert session.train(2, Hooks(should_stop=stop_after(3))).ending == "interrupted"
    with session_of(top, rung=2, resume=True) as session:
        assert session.train(2, Hooks()).ending == "finished"
    assert same(training_state(tmp_path / "run"), training_state(tmp_path / "straight"))
    assert [line["rung"] for line in metrics_lines(tmp_path / "run")] == [1, 2]


# counters


COUNTED = {
    **SCHEDULES["reduce_on_plateau"], "training__scheduler__patience": 9,
    "training__early_stopping__enabled": True, "training__early_stopping__min_delta": 100.0,
    "training__early_stopping__patience": 9,
}  # fmt: skip


@CLIMBS
@pytest.mark.parametrize("growth", ["", "subset", "size", "validation"])
def test_counters_start_afresh_only_where_losses_cannot_be_compared(climb: Any, growth: str, tmp_path: Path) -> None:
    low, top = tiny(tmp_path, **COUNTED, training__epochs=2, **GROWTH.get(growth, {})), tiny(tmp_path, **COUNTED, **TOP)
    with session_of(low) as session:
        session.train(2, Hooks())
        assert session.run.stopping.stale == 1
        before = load_checkpoint(tmp_path / LAST)
        if climb is in_memory:
            session.climb(top, 2)
            run = session.run
    if climb is from_checkpoints:
        with session_of(top, rung=2, resume=True) as session:
            run = session.run
    assert run.progress.rung == 2
    assert run.stopping.stale == (0 if growth else 1)
    assert (run.schedule.best == before["schedule"]["best"]) == (not growth)
    assert run.schedule.rates == before["schedule"]["rates"]
    assert math.isnan(run.progress.best), "the best starts afresh on every rung"


def test_the_best_checkpoint_is_the_best_of_the_highest_rung(tmp_path: Path) -> None:
    in_memory(tmp_path, [{"training__epochs": 2}, {"training__epochs": 3}])
    best = load_checkpoint(tmp_path / BEST)["progress"]
    assert (best["rung"], best["best_epoch"]) == (2, 3)


@CLIMBS
def test_a_run_that_stopped_itself_goes_on_one_rung_up(climb: Any, tmp_path: Path) -> None:
    early = {**COUNTED, "training__early_stopping__patience": 1}
    rungs = [{"training__epochs": 3, "training__subset_size": 16}, {"training__epochs": 4}]
    outcome = climb(tmp_path, rungs, **early)
    assert [line["rung"] for line in metrics_lines(tmp_path)] == [1, 1, 2, 2]
    assert (outcome.ending, outcome.epoch, outcome.evaluations[-1].rung) == ("early", 4, 2)


# what may differ


CHANGED = {
    "training__optimizer__lr": 0.5, "training__batch_size": 4, "model__dropout": 0.1, "seed": 4,
    "training__schedule_epochs": 9, "training__subset_seed": 1, "data__split_seed": 1,
}  # fmt: skip


def test_nothing_else_may_differ(tmp_path: Path) -> None:
    with session_of(tiny(tmp_path, training__epochs=1)) as session:
        session.train(1, Hooks())
        for name, value in CHANGED.items():
            other = tiny(tmp_path, **{name: value}, training__subset_size=16)
            with pytest.raises(CheckpointError, match=re.escape(name.replace("__", "."))) as caught:
                session.climb(other, 2)
            assert "training.subset_size" not in str(caught.value)
            assert session.run.progress.rung == 1, "nothing changed"
            assert session.run.config.training.subset_size is None
    for name, value in CHANGED.items():
        other = tiny(tmp_path, **{name: value}, training__subset_size=16)
        with (
            pytest.raises(CheckpointError, match=re.escape(name.replace("__", "."))),
            session_of(other, rung=2, resume=True),
        ):
            pass


def test_on_the_same_rung_the_images_may_not_differ(tmp_path: Path) -> None:
    trained(tiny(tmp_path, training__epochs=1))
    grown = tiny(tmp_path, training__subset_size=16, data__image_size=20)
    with pytest.raises(CheckpointError, match=r"data\.image_size"), session_of(grown, rung=1, resume=True):
        pass


def test_what_a_rung_writes_beside_its_metrics(tmp_path: Path) -> None:
    in_memory(tmp_path, [{"training__epochs": 1, "training__subset_size": 16}, {"training__epochs": 2}])
    assert [(line["epoch"], line["rung"], line["step"]) for line in metrics_lines(tmp_path)] == [(1, 1, 4), (2, 2, 12)]
    state = load_checkpoint(tmp_path / LAST)
    assert state["progress"]["rung"] == 2
    assert state["config"]["training"]["subset_size"] is None
