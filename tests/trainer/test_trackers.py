"""TensorBoard and Weights & Biases, where they are installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from trainer_parts import tiny, trained

from trainer.api import ConfigError, Hooks


def test_tensorboard_gets_every_metric_once(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    runs = tmp_path / "runs"
    config = tiny(tmp_path, training__epochs=2, logging__tensorboard=True, logging__tensorboard_dir=str(runs))
    outcome = trained(config)
    events = accumulator.EventAccumulator(str(runs / config.experiment_name))
    events.Reload()
    for name in ("train_loss", "val_loss", "bleu"):
        written = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(e.step, pytest.approx(e.metrics[name], rel=1e-6)) for e in outcome.evaluations]
        assert written == expected


def test_between_evaluations_tensorboard_gets_the_running_loss(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = {"logging__tensorboard": True, "logging__tensorboard_dir": str(tmp_path / "runs")}
    config = tiny(tmp_path, training__epochs=2, logging__every_n_steps=4, **settings)
    outcome = trained(config)
    events = accumulator.EventAccumulator(str(tmp_path / "runs" / config.experiment_name))
    events.Reload()
    running = {event.step: event.value for event in events.Scalars("running_loss")}
    assert list(running) == [4, 8, 12, 16]
    for evaluation in outcome.evaluations:
        assert running[evaluation.step] == pytest.approx(evaluation.metrics["train_loss"], rel=1e-6)
    assert [event.step for event in events.Scalars("running_lr")] == [4, 8, 12, 16]


def test_steps_are_counted_over_epochs_and_reported(tmp_path: Path) -> None:
    """Epochs of 8 steps: the tenth and the twentieth are in the second and the third."""
    seen: dict[int, float] = {}
    hooks = Hooks(stepped=lambda step, numbers: seen.update({step: numbers["running_lr"]}))
    config = tiny(tmp_path, training__epochs=3, logging__every_n_steps=10, training__scheduler__type="constant")
    trained(config, hooks=hooks)
    assert seen == {10: 5e-3, 20: 5e-3}


@pytest.mark.slow
def test_wandb_works_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    trained(tiny(tmp_path, training__epochs=1, logging__use_wandb=True))
    assert list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed")
def test_a_missing_tracker_is_named_with_its_extra(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"logging.use_wandb.*rungwise\[wandb\]"):
        trained(tiny(tmp_path, training__epochs=1, logging__use_wandb=True))
