"""The loop: what it evaluates, writes and says, and how it fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from trainer_parts import metrics_lines, same, session_of, stop_after, tiny, trained

from trainer.api import ConfigError, DataError, Evaluation, Heartbeat, Hooks, NonFiniteLoss, OutOfMemory, TrainingError
from trainer.checkpoints.files import LAST, load_checkpoint
from trainer.task.protocols import Scores

FLAT = {"training__scheduler__type": "constant"}


def with_loss(session: Any, monkeypatch: pytest.MonkeyPatch, change: Callable[[int, torch.Tensor], Any]) -> None:
    """Replaces the task's loss by `change(number of the call from 1, true loss)`."""
    true_loss, calls = session.run.task.loss, iter(range(1, 10_000))
    monkeypatch.setattr(session.run.task, "loss", lambda model, batch: change(next(calls), true_loss(model, batch)))


def test_a_rate_that_explodes_is_caught_within_the_epoch(tmp_path: Path) -> None:
    reported: list[Evaluation] = []
    settings = {"training__optimizer__type": "sgd", "training__optimizer__lr": 1e30, "training__grad_clip": 0.0}
    with pytest.raises(NonFiniteLoss, match=r"the training loss is (nan|inf) at step \d") as caught:
        trained(tiny(tmp_path, **FLAT, **settings), hooks=Hooks(report=reported.append))
    assert (caught.value.epoch, caught.value.kind) == (1, "nan")
    assert 2 <= caught.value.step <= 4
    assert "training.optimizer.lr" in str(caught.value)
    assert reported == []
    assert metrics_lines(tmp_path) == []
    assert not (tmp_path / LAST).exists()


@pytest.mark.parametrize(
    ("bad", "step", "interval"),
    [(math.nan, 1, 50), (math.nan, 8, 50), (math.inf, 11, 50), (math.nan, 11, 1), (math.nan, 16, 3)],
)
def test_the_first_bad_step_is_named_however_rarely_the_loss_is_read(
    bad: float, step: int, interval: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(tmp_path, logging__every_n_steps=interval, training__optimizer__lr=1e-9)
    with session_of(config) as session:
        with_loss(session, monkeypatch, lambda call, loss: loss * bad if call >= step else loss)
        with pytest.raises(NonFiniteLoss) as caught:
            session.train(2, Hooks())
    assert (caught.value.step, caught.value.epoch) == (step, 1 if step <= 8 else 2)
    saved = load_checkpoint(tmp_path / LAST) if (tmp_path / LAST).exists() else {"model": {}, "progress": {"epoch": 0}}
    assert saved["progress"]["epoch"] == caught.value.epoch - 1
    assert all(torch.isfinite(value).all() for value in saved["model"].values())


def test_an_interruption_does_not_save_a_broken_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with session_of(tiny(tmp_path)) as session:
        with_loss(session, monkeypatch, lambda call, loss: loss * math.nan if call == 2 else loss)
        with pytest.raises(NonFiniteLoss):
            session.train(1, Hooks(should_stop=stop_after(3)))
    assert not (tmp_path / LAST).exists()


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"val_loss": math.nan, "bleu": 1.0}, "the validation val_loss is nan"),
        ({"val_loss": 1.0, "bleu": math.nan}, "the validation bleu is nan"),
        ({"val_loss": math.inf, "bleu": 1.0}, "the validation val_loss is inf"),
    ],
)
def test_a_metric_that_is_no_number_is_never_reported(
    metrics: dict[str, float], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Evaluation] = []
    with session_of(tiny(tmp_path)) as session:
        monkeypatch.setattr(session.run.task, "evaluate", lambda _model, _batches: Scores(metrics))
        with pytest.raises(NonFiniteLoss, match=words):
            session.train(1, Hooks(report=reported.append))
    assert reported == []
    assert metrics_lines(tmp_path) == []


@pytest.mark.parametrize(("given", "lacking"), [("val_loss", "bleu"), ("bleu", "val_loss")])
def test_a_metric_that_a_task_does_not_give_is_no_matter_of_rates(
    given: str, lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session_of(tiny(tmp_path)) as session:
        monkeypatch.setattr(session.run.task, "evaluate", lambda _model, _batches: Scores({given: 1.0}))
        words = f"evaluate of the task captioning gave no {lacking}, only {given}"
        with pytest.raises(TrainingError, match=words) as caught:
            session.train(1, Hooks())
    assert caught.value.kind == "code"


@pytest.mark.slow
def test_too_little_memory_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(_call: int, _loss: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nadvice")

    with session_of(tiny(tmp_path)) as session:
        with_loss(session, monkeypatch, allocate)
        with pytest.raises(OutOfMemory, match=r"batches of 8 .*2 GiB.*smaller training\.batch_size") as caught:
            session.train(1, Hooks())
    assert caught.value.kind == "oom"


@pytest.mark.parametrize(("interval", "expected"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_evaluations_come_on_the_interval_and_at_the_end(interval: int, expected: list[int], tmp_path: Path) -> None:
    config = tiny(tmp_path, training__epochs=5, training__eval_interval=interval, training__subset_size=8)
    outcome = trained(config)
    assert [evaluation.epoch for evaluation in outcome.evaluations] == expected
    assert [line["epoch"] for line in metrics_lines(tmp_path)] == expected


def test_an_evaluation_holds_what_metrics_jsonl_holds(tmp_path: Path) -> None:
    outcome = trained(tiny(tmp_path, training__epochs=1), rung=2)
    (line,), (evaluation,) = metrics_lines(tmp_path), outcome.evaluations
    assert line == {"epoch": 1, "step": 8, "rung": 2, "metrics": dict(evaluation.metrics)}
    assert set(evaluation.metrics) == {"train_loss", "val_loss", "bleu", "lr"}
    assert evaluation.value == evaluation.metrics["bleu"]
    assert evaluation.seconds > 0.0


def test_where_bleu_is_off_the_loss_is_the_metric(tmp_path: Path) -> None:
    outcome = trained(tiny(tmp_path, metrics__bleu=False))
    losses = [evaluation.metrics["val_loss"] for evaluation in outcome.evaluations]
    assert [evaluation.value for evaluation in outcome.evaluations] == losses
    assert load_checkpoint(tmp_path / LAST)["progress"]["best"] == min(losses)


def test_heartbeats_count_every_step(tmp_path: Path) -> None:
    beats: list[Heartbeat] = []
    trained(tiny(tmp_path, training__epochs=2), hooks=Hooks(heartbeat=beats.append))
    assert beats == [Heartbeat(epoch, step, 8) for epoch in (1, 2) for step in range(1, 9)]


def test_a_stop_at_an_epochs_end_comes_after_its_evaluation(tmp_path: Path) -> None:
    outcome = trained(tiny(tmp_path), hooks=Hooks(should_stop=stop_after(8)))  # 7 within the epoch, 1 after it
    assert (outcome.ending, outcome.epoch, len(outcome.evaluations)) == ("interrupted", 1, 1)


def test_early_stopping_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    settings = {"training__early_stopping__enabled": True, "training__early_stopping__min_delta": 100.0}
    config = tiny(tmp_path, **settings, training__early_stopping__patience=2, training__subset_size=8)
    outcome = trained(config)
    assert (outcome.ending, outcome.epoch) == ("early", 3)
    assert "has not fallen by more than 100 for 2 evaluations" in outcome.reason
    again = trained(config, resume=True)
    assert (again.ending, again.reason, again.evaluations) == ("early", outcome.reason, outcome.evaluations)


def test_checkpoints_by_epoch_and_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(tmp_path, checkpoint__every_n_epochs=2, checkpoint__every_n_steps=3)
    steps: list[int] = []
    with session_of(config) as session:
        save = session.writer.save
        monkeypatch.setattr(
            session.writer, "save", lambda run, best=False: (steps.append(run.progress.step), save(run, best=best))
        )
        session.train(4, Hooks())
    kept = sorted(path.name for path in tmp_path.glob("checkpoint_epoch_*.pth"))
    assert kept == ["checkpoint_epoch_2.pth", "checkpoint_epoch_4.pth"]
    assert [load_checkpoint(tmp_path / name)["progress"]["epoch"] for name in kept] == [2, 4]
    assert steps == [3, 6, 8, 9, 12, 15, 16, 18, 21, 24, 27, 30, 32]


def test_checkpoints_and_metrics_can_be_switched_off(tmp_path: Path) -> None:
    outcome = trained(tiny(tmp_path, checkpoint__save=False, logging__save_metrics=False, evaluation__samples=0))
    assert outcome.checkpoint == ""
    assert len(outcome.evaluations) == 4
    assert list(tmp_path.iterdir()) == []


def test_metrics_and_samples_may_have_a_folder_of_their_own(tmp_path: Path) -> None:
    trained(tiny(tmp_path / "weights", logging__dir=str(tmp_path / "logs"), training__epochs=1))
    assert sorted(path.name for path in (tmp_path / "logs").rglob("*.json*")) == [
        "best.json",
        "last.json",
        "metrics.jsonl",
    ]
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == ["best.pth", LAST]


def test_batches_in_a_group_weigh_as_one_large_batch(tmp_path: Path) -> None:
    """Without dropout and batch statistics, 4 × 2 samples are 8, in the last, short group too."""
    still = {"model__dropout": 0.0, "model__encoder_fine_tune": False, "training__epochs": 2, "data__val_split": 0.24}
    one = trained(tiny(tmp_path / "one", **still))
    grouped = trained(tiny(tmp_path / "four", **still, training__batch_size=2, training__accumulate_grad_batches=4))
    assert one.step == grouped.step == 16  # 60 rows: 7 whole batches of 8 and one of 4
    for a, b in zip(one.evaluations, grouped.evaluations, strict=True):
        for name in ("train_loss", "val_loss", "lr"):
            assert a.metrics[name] == pytest.approx(b.metrics[name], rel=1e-4)


@pytest.mark.slow
def test_overfitting_a_few_images_works_and_uses_them_plainly(tmp_path: Path) -> None:
    settings = {"training__overfit": True, "training__subset_size": 6, "training__epochs": 40}
    config = tiny(tmp_path, **settings, **FLAT, model__dropout=0.0, training__optimizer__lr=0.02)
    with session_of(config) as session:
        loader, rows = session.run.loaders.train, session.run.loaders.train.dataset  # type: ignore[attr-defined]
        orders = [list(loader.batch_sampler), list(loader.batch_sampler)]  # type: ignore[arg-type]
        assert [row for batch in orders[0] for _, row in batch] == list(range(12))
        assert orders[0] == orders[1]
        assert rows.seen.crops.seed is None, "cropped in the centre"
        assert same(rows.__getitems__([(1, 0), (1, 3)]), rows.__getitems__([(9, 0), (9, 3)]))
        trained_on = {image for image, _ in rows.rows}
        assert trained_on == {image for image, *_ in session.run.loaders.val.dataset.rows}  # type: ignore[attr-defined]
        outcome = session.train(40, Hooks())
    first, last = outcome.evaluations[0], outcome.evaluations[-1]
    assert outcome.ending == "finished", "early stopping is off"
    assert last.metrics["train_loss"] < 0.5 * first.metrics["train_loss"]
    assert last.metrics["val_loss"] < 0.6 * first.metrics["val_loss"]


def test_training_shuffles_and_augments_anew_each_epoch(tmp_path: Path) -> None:
    with session_of(tiny(tmp_path)) as session:
        batches, rows = session.run.loaders.batches, session.run.loaders.train.dataset  # type: ignore[attr-defined]
        orders = []
        for batches.epoch in (1, 2, 1):
            orders.append([row for batch in batches for _, row in batch])
        assert orders[0] == orders[2] != orders[1]
        assert sorted(orders[0]) == sorted(orders[1]) == list(range(64))
        crops = [rows.__getitems__([(epoch, row) for row in range(20)])["images"] for epoch in (1, 2, 1)]
        assert torch.equal(crops[0], crops[2])
        assert not torch.equal(crops[0], crops[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_met_in_training_is_named(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with session_of(tiny(tmp_path, data__num_workers=workers, data__cache_gb=0.0)) as session:
        source = session.run.loaders.train.dataset  # type: ignore[attr-defined]
        broken = tmp_path / "broken.jpg"
        broken.write_bytes(b"no image")
        monkeypatch.setattr(source.seen.images, "paths", [broken] * 40)
        monkeypatch.setattr(source.seen.images, "_kept", {})
        with pytest.raises(DataError) as caught:
            session.train(1, Hooks())
    said = str(caught.value)
    assert said.startswith(f"{broken}: not a readable image")
    assert "Traceback" not in said


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"checkpoint\.dir: .*file.* cannot be written"):
        trained(tiny(tmp_path / "file" / "run"))
