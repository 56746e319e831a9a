"""Configurations in older vocabularies load unchanged."""

from __future__ import annotations

from typing import Any

import pytest
from trainer_parts import TINY

from trainer.api import ConfigError, canonical_overrides, known_keys, resolve_config
from trainer.renames import RENAMES

TASK = "captioning"


@pytest.mark.parametrize("old", sorted(RENAMES))
def test_every_older_spelling_leads_to_a_known_key(old: str) -> None:
    assert set(RENAMES[old].convert(None)) <= set(known_keys(TASK))
    assert old not in known_keys(TASK), "a canonical key needs no rename"


@pytest.mark.parametrize(
    ("old", "value", "new", "meant"),
    [
        ("training.seed", 7, "seed", 7),
        ("dataset.image_size", 64, "data.image_size", 64),
        ("dataset.val_part", 0.3, "data.val_split", 0.3),
        ("data.train_split", 0.8, "data.val_split", 0.2),
        ("data.train_split", "0.8", "data.val_split", 0.2),
        ("training.max_epochs", 9, "training.epochs", 9),
        ("training.num_epochs", 9, "training.epochs", 9),
        ("data.batch_size", 4, "training.batch_size", 4),
        ("dataset.data_loaders.train_batch_size", 4, "training.batch_size", 4),
        ("dataset.data_loaders.val_batch_size", 4, "training.val_batch_size", 4),
        ("training.gradient_accumulation_steps", 2, "training.accumulate_grad_batches", 2),
        ("training.max_grad_norm", 1.0, "training.grad_clip", 1.0),
        ("training.use_amp", True, "training.precision", "auto"),
        ("training.amp", False, "training.precision", "fp32"),
        ("training.mixed_precision", "no", "training.precision", "fp32"),
        ("training.mixed_precision", "bf16", "training.precision", "bf16"),
        ("training.precision", "16-mixed", "training.precision", "fp16"),
        ("training.precision", "bf16-mixed", "training.precision", "bf16"),
        ("training.precision", 32, "training.precision", "fp32"),
        ("training.precision", "32", "training.precision", "fp32"),
        ("data.num_samples", 30, "data.max_samples", 30),
        ("optimizer.type", "sgd", "training.optimizer.type", "sgd"),
        ("training.learning_rate", 1e-3, "training.optimizer.lr", 1e-3),
        ("optimizer.weight_decay", 0.1, "training.optimizer.weight_decay", 0.1),
        ("scheduler.type", "ReduceLROnPlateau", "training.scheduler.type", "reduce_on_plateau"),
        ("lr_scheduler.type", "OneCycleLR", "training.scheduler.type", "one_cycle"),
        ("training.scheduler.type", "StepLR", "training.scheduler.type", "step"),
        ("scheduler.type", "CosineAnnealingLR", "training.scheduler.type", "cosine"),
        ("scheduler.pct_start", 0.2, "training.scheduler.pct_start", 0.2),
        ("lr_scheduler.warmup_steps", 5, "training.scheduler.warmup_steps", 5),
        ("early_stopping.patience", 4, "training.early_stopping.patience", 4),
        ("training.save_checkpoints", False, "checkpoint.save", False),
        ("training.save_every_epoch", True, "checkpoint.every_n_epochs", 1),
        ("training.save_every_epoch", False, "checkpoint.every_n_epochs", None),
        ("training.save_steps", 10, "checkpoint.every_n_steps", 10),
        ("training.logging_steps", 10, "logging.every_n_steps", 10),
        ("training.save_metrics", False, "logging.save_metrics", False),
    ],
)
def test_older_spellings_and_values(old: str, value: Any, new: str, meant: Any) -> None:
    assert canonical_overrides({old: value}, TASK) == {new: meant}


@pytest.mark.parametrize(
    ("old", "value"),
    [
        ("training.use_amp", 1),
        ("training.precision", 1),
        ("training.precision", 0),
        ("data.train_split", "most"),
        ("data.train_split", True),
        ("scheduler.type", "CosineAnnealing"),
        ("training.save_every_epoch", "yes"),
    ],
)
def test_a_wrong_value_is_said_under_the_spelling_of_the_file(old: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        canonical_overrides({old: value}, TASK)
    assert [problem.where for problem in caught.value.problems] == [old]


def test_a_whole_older_file() -> None:
    older = {
        "data": {"scenes": {}},
        "dataset": {"image_size": 64, "val_part": 0.25, "data_loaders": {"train_batch_size": 12}},
        "optimizer": {"type": "sgd", "lr": "1e-2", "momentum": 0.9},
        "lr_scheduler": {"type": "StepLR"},
        "scheduler": {"step_size": 3},
        "early_stopping": {"enabled": False},
        "directories": {"models": "/models"},
        "training": {"num_epochs": 6, "amp": False, "seed": 11},
    }
    config = resolve_config(older, {"task": TASK})
    assert (config.data.image_size, config.data.val_split) == (64, 0.25)
    assert config.training.batch_size == 12
    assert (config.training.optimizer.lr, config.training.optimizer.momentum) == (1e-2, 0.9)
    assert (config.training.scheduler.type, config.training.scheduler.step_size) == ("step", 3)
    assert not config.training.early_stopping.enabled
    assert str(config.checkpoint.dir) == "/models"
    assert (config.seed, config.training.precision, config.training.epochs) == (11, "fp32", 6)


def test_an_override_in_an_older_spelling_wins_over_a_canonical_base() -> None:
    assert resolve_config(TINY, {"dataset.image_size": 16}).data.image_size == 16
