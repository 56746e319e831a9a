"""Stopping and going on equals never having stopped, bit by bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from trainer_parts import (
    metrics_lines,
    same,
    session_of,
    stop_after,
    tiny,
    trained,
    training_state,
    without_seconds,
)

from trainer.api import CheckpointError, Hooks, Outcome
from trainer.checkpoints.files import BEST, LAST, PREVIOUS, load_checkpoint, save_checkpoint

SCHEDULES: dict[str, dict[str, Any]] = {
    "cosine": {"training__scheduler__type": "cosine", "training__scheduler__warmup_steps": 3},
    "one_cycle": {"training__scheduler__type": "one_cycle"},
    "step": {"training__scheduler__type": "step", "training__scheduler__step_size": 1},
    "reduce_on_plateau": {"training__scheduler__type": "reduce_on_plateau", "training__scheduler__patience": 0},
    "constant": {"training__scheduler__type": "constant"},
}
VARIANTS: dict[str, dict[str, Any]] = {
    **SCHEDULES,
    "2 workers": {"data__num_workers": 2, "data__cache_gb": 0.0},
    "short last group": {"training__accumulate_grad_batches": 3},  # of 8 batches: 3, 3, 2
    "short last group, 2 workers": {
        "training__accumulate_grad_batches": 3,
        "data__num_workers": 2,
        "data__cache_gb": 0.0,
    },
    "sgd with momentum": {"training__optimizer__type": "sgd", "training__optimizer__momentum": 0.9},
    "frozen encoder": {"model__encoder_fine_tune": False},
    "bf16": {"training__precision": "bf16"},
    "average of weights": {"training__ema_decay": 0.9},
    "growing images": {"training__resize_schedule": [[1, 20], [2, 24], [4, 28]]},
    "growing images, 2 workers": {
        "training__resize_schedule": [[1, 20], [2, 24], [4, 28]],
        "data__num_workers": 2,
        "data__cache_gb": 0.0,
    },
    **{
        f"everything, {kind}": {
            **settings,
            "training__ema_decay": 0.9,
            "training__accumulate_grad_batches": 3,
            "training__resize_schedule": [[1, 20], [2, 24], [4, 28]],
        }
        for kind, settings in SCHEDULES.items()
    },
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> dict[str, Any]:
    return VARIANTS[request.param]


def assert_equal_runs(one: Path, other: Path, outcome: Outcome, expected: Outcome) -> None:
    assert same(training_state(one), training_state(other))
    assert metrics_lines(one) == metrics_lines(other)
    assert without_seconds(outcome.evaluations) == without_seconds(expected.evaluations)
    assert (outcome.ending, outcome.epoch, outcome.step) == (expected.ending, expected.epoch, expected.step)


@pytest.mark.slow
def test_two_epochs_and_two_more_are_four(variant: dict[str, Any], tmp_path: Path) -> None:
    straight = trained(tiny(tmp_path / "straight", **variant))
    first = trained(tiny(tmp_path / "run", **variant, training__epochs=2))
    assert (first.ending, first.epoch) == ("finished", 2)
    second = trained(tiny(tmp_path / "run", **variant), resume=True)
    assert_equal_runs(tmp_path / "run", tmp_path / "straight", second, straight)


@pytest.mark.slow
def test_stopped_in_the_middle_of_an_epoch(variant: dict[str, Any], tmp_path: Path) -> None:
    straight = trained(tiny(tmp_path / "straight", **variant, training__epochs=2))
    config = tiny(tmp_path / "run", **variant, training__epochs=2)
    steps = 5 if "training__accumulate_grad_batches" in variant else 11  # of 3 and of 8 an epoch
    stopped = trained(config, hooks=Hooks(should_stop=stop_after(steps)))
    assert (stopped.ending, stopped.epoch, stopped.step) == ("interrupted", 1, steps)
    assert 0 < load_checkpoint(tmp_path / "run" / LAST)["progress"]["batches"] < 8
    resumed = trained(config, resume=True)
    assert_equal_runs(tmp_path / "run", tmp_path / "straight", resumed, straight)


@pytest.mark.parametrize("workers", [0, 2])
def test_epoch_by_epoch_and_interrupted_in_one_session(workers: int, tmp_path: Path) -> None:
    straight = trained(tiny(tmp_path / "straight"))
    with session_of(tiny(tmp_path / "run", data__num_workers=workers, data__cache_gb=0.0)) as session:
        endings = [session.train(epoch, Hooks()).ending for epoch in (1, 2)]
        endings.append(session.train(4, Hooks(should_stop=stop_after(3))).ending)
        endings.append(session.train(3, Hooks()).ending)
        last = session.train(4, Hooks())
    assert [*endings, last.ending] == ["reached", "reached", "interrupted", "reached", "finished"]
    assert_equal_runs(tmp_path / "run", tmp_path / "straight", last, straight)


@pytest.mark.slow
def test_the_number_of_loading_processes_may_change(tmp_path: Path) -> None:
    straight = trained(tiny(tmp_path / "straight"))
    trained(tiny(tmp_path / "run", data__num_workers=2, data__cache_gb=0.0), until=2)
    resumed = trained(tiny(tmp_path / "run"), resume=True)
    assert_equal_runs(tmp_path / "run", tmp_path / "straight", resumed, straight)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reduce_on_plateau", "cosine"])
def test_an_evaluation_forced_off_the_interval_leaves_no_trace(kind: str, tmp_path: Path) -> None:
    settings = {
        **SCHEDULES[kind], "training__eval_interval": 3, "training__epochs": 6, "training__schedule_epochs": 6,
        "training__early_stopping__enabled": True, "training__early_stopping__patience": 3,
    }  # fmt: skip
    straight = trained(tiny(tmp_path / "straight", **settings))
    config = tiny(tmp_path / "run", **settings)
    for until in (1, 2, 4, 5):
        assert trained(config, until=until, resume=True).evaluations[-1].epoch == until
    last = trained(config, resume=True)
    one, other = training_state(tmp_path / "run"), training_state(tmp_path / "straight")
    assert [item["epoch"] for item in other.pop("history")] == [3, 6]
    assert [item["epoch"] for item in one.pop("history")] == [1, 2, 3, 4, 5, 6]
    assert same(one, other)
    assert last.evaluations[-1].metrics == straight.evaluations[-1].metrics


@pytest.mark.slow
def test_a_last_epoch_off_the_interval_is_evaluated_but_judged_only_for_best(tmp_path: Path) -> None:
    settings = {**SCHEDULES["reduce_on_plateau"], "training__eval_interval": 3}
    first = trained(tiny(tmp_path / "run", **settings, training__epochs=2))
    assert [evaluation.epoch for evaluation in first.evaluations] == [2]
    assert load_checkpoint(tmp_path / "run" / BEST)["progress"]["epoch"] == 2
    trained(tiny(tmp_path / "run", **settings), resume=True)
    trained(tiny(tmp_path / "straight", **settings))
    one, other = training_state(tmp_path / "run"), training_state(tmp_path / "straight")
    assert [item["epoch"] for item in one.pop("history")] == [2, 3, 4]
    assert [item["epoch"] for item in other.pop("history")] == [3, 4]
    assert same(one, other)


@pytest.mark.parametrize("settings", [{}, {"training__accumulate_grad_batches": 3}], ids=["", "groups"])
def test_max_iter_only_stops_a_run(settings: dict[str, Any], tmp_path: Path) -> None:
    straight = trained(tiny(tmp_path / "straight", **settings))
    steps = straight.step // 4 + 1
    cut = trained(tiny(tmp_path / "run", **settings, training__max_iter=steps))
    assert (cut.ending, cut.step, cut.epoch) == ("finished", steps, 1)
    assert [evaluation.epoch for evaluation in cut.evaluations] == [1, 2]
    again = trained(tiny(tmp_path / "run", **settings, training__max_iter=steps), resume=True)
    assert again.evaluations == cut.evaluations
    resumed = trained(tiny(tmp_path / "run", **settings), resume=True)
    assert_equal_runs(tmp_path / "run", tmp_path / "straight", resumed, straight)


def test_max_iter_within_the_first_epoch_still_gives_a_best_checkpoint(tmp_path: Path) -> None:
    outcome = trained(tiny(tmp_path, training__max_iter=2))
    assert (outcome.ending, outcome.step, len(outcome.evaluations)) == ("finished", 2, 1)
    assert load_checkpoint(tmp_path / BEST)["history"][-1]["step"] == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_work_that_is_in_the_checkpoint_already_is_not_done_again(workers: int, tmp_path: Path) -> None:
    config = tiny(tmp_path, data__num_workers=workers, data__cache_gb=0.0)
    first = trained(config, until=3)
    written = (tmp_path / LAST).stat().st_mtime_ns
    heard: list[Any] = []
    hooks = Hooks(report=heard.append, heartbeat=heard.append)
    for until in (3, 2, 1):
        again = trained(config, until=until, hooks=hooks, resume=True)
        assert again.evaluations == first.evaluations
        assert (again.ending, again.epoch, again.step, again.seconds) == ("reached", 3, first.step, first.seconds)
        assert again.checkpoint == first.checkpoint == str(tmp_path / LAST)
    assert heard == []
    assert (tmp_path / LAST).stat().st_mtime_ns == written


def test_lines_written_after_the_checkpoint_are_written_once(tmp_path: Path) -> None:
    config = tiny(tmp_path / "run")
    trained(config, until=2)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 3, "step": 24}) + "\n" + '{"epoch": 4, "st')  # of a killed process
    trained(config, resume=True)
    trained(tiny(tmp_path / "straight"))
    assert metrics_lines(tmp_path / "run") == metrics_lines(tmp_path / "straight")


@pytest.mark.parametrize("named", ["last.pth", "folder"])
def test_a_run_goes_on_in_another_folder(named: str, tmp_path: Path) -> None:
    straight = trained(tiny(tmp_path / "straight"))
    trained(tiny(tmp_path / "old"), until=2)
    source = tmp_path / "old" / LAST if named == "last.pth" else tmp_path / "old"
    done = trained(tiny(tmp_path / "new", checkpoint__resume=str(source)), until=2)
    assert done.checkpoint == str(tmp_path / "new" / LAST), "nothing was trained, and yet the folder holds the run"
    assert same(training_state(tmp_path / "new"), training_state(tmp_path / "old"))
    resumed = trained(tiny(tmp_path / "new", checkpoint__resume=str(source)))
    assert_equal_runs(tmp_path / "new", tmp_path / "straight", resumed, straight)


def test_a_resumed_configuration_may_differ_only_where_that_is_harmless(tmp_path: Path) -> None:
    trained(tiny(tmp_path), until=1)
    changed = {"training__optimizer__lr": 0.5, "data__image_size": 24, "training__batch_size": 4, "seed": 4}
    with pytest.raises(CheckpointError) as caught:
        trained(tiny(tmp_path, **changed, experiment_name="other"), resume=True)
    said = str(caught.value)
    assert "training.optimizer.lr: 0.005 in the checkpoint, 0.5 now" in said
    assert all(key in said for key in ("data.image_size", "training.batch_size", "seed"))
    assert "experiment_name" not in said
    with pytest.raises(CheckpointError, match=r"data\.image_size"):
        trained(tiny(tmp_path, data__image_size=24), resume=True, free=("training.subset_size",))
    moved = trained(tiny(tmp_path, data__image_size=24), until=2, resume=True, free=("data.image_size",))
    assert moved.epoch == 2


def test_a_checkpoint_from_before_a_key_goes_on_with_its_default(tmp_path: Path) -> None:
    trained(tiny(tmp_path), until=1)
    state = load_checkpoint(tmp_path / LAST)
    for key in ("background_colour", "value_range"):
        del state["config"]["data"][key]
    save_checkpoint(state, tmp_path / LAST)
    with pytest.raises(CheckpointError, match=r'data\.background_colour: "white" in the checkpoint, "black" now'):
        trained(tiny(tmp_path, data__background_colour="black"), until=2, resume=True)
    assert trained(tiny(tmp_path), until=2, resume=True).epoch == 2


def test_a_new_rung_judges_afresh_but_keeps_the_rate(tmp_path: Path) -> None:
    settings = {**SCHEDULES["reduce_on_plateau"], "training__early_stopping__enabled": True}
    early = {"training__early_stopping__min_delta": 100.0, "training__early_stopping__patience": 1}
    first = trained(tiny(tmp_path, **settings, **early, training__subset_size=16))
    assert (first.ending, first.epoch) == ("early", 2)
    before = load_checkpoint(tmp_path / LAST)
    config = tiny(tmp_path, **settings, **early)
    with session_of(config, rung=2, resume=True, free=("training.subset_size",)) as session:
        assert (session.run.progress.rung, session.run.stopping.stale) == (2, 0)
        assert session.run.schedule.rates == before["schedule"]["rates"]
        outcome = session.train(3, Hooks())
    assert outcome.ending == "reached"
    assert [evaluation.rung for evaluation in outcome.evaluations] == [1, 1, 2]
    assert load_checkpoint(tmp_path / BEST)["progress"]["best_epoch"] == 3


def test_a_fresh_run_never_takes_another_runs_checkpoints_for_its_own(tmp_path: Path) -> None:
    trained(tiny(tmp_path, training__epochs=2))
    with session_of(tiny(tmp_path)):
        assert not [name for name in (LAST, PREVIOUS, BEST) if (tmp_path / name).exists()]
    assert metrics_lines(tmp_path) == []


def test_the_seed_settles_a_run(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        trained(tiny(tmp_path / name, seed=seed, data__split_seed=0, training__epochs=1))
    one, equal, other = (training_state(tmp_path / name) for name in ("one", "same", "other"))
    assert same(one, equal)
    assert not same(one["model"], other["model"])
