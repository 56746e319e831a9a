"""Configurations in older vocabularies load unchanged."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from trainer_parts import TINY

from trainer.api import ConfigError, canonical_overrides, known_keys, resolve_config, tasks
from trainer.config.renames import RENAMES

TASK = "captioning"
OF_ONE_TASK = {"directories.backgrounds": "classification"}  # its key is known there alone


@pytest.mark.parametrize("old", sorted(RENAMES))
def test_every_older_spelling_leads_to_a_known_key(old: str) -> None:
    assert set(RENAMES[old](None)) <= set(known_keys(OF_ONE_TASK.get(old, TASK)))
    assert old not in known_keys(TASK), "a canonical key needs no rename"


# Every accepted spelling, with a value as an older file has it, and what it means today.
SPELLINGS: list[tuple[str, Any, str, Any]] = [
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
    ("training.num_workers", 2, "data.num_workers", 2),
    ("training.prefetch_factor", 2, "data.prefetch_factor", 2),
    ("dataset.data_fraction", 0.5, "data.data_fraction", 0.5),
    ("training.mixed_precision", "fp16", "training.precision", "fp16"),
    ("training.compile_model", True, "training.compile", True),
    ("optimizer.type", "AdamW", "training.optimizer.type", "adamw"),
    ("optimizer.lr", "1e-3", "training.optimizer.lr", 1e-3),
    ("training.lr", 1e-3, "training.optimizer.lr", 1e-3),
    ("training.finetune_lr", 1e-5, "training.optimizer.encoder_lr", 1e-5),
    ("optimizer.encoder_lr", 1e-5, "training.optimizer.encoder_lr", 1e-5),
    ("optimizer.eps", 1e-6, "training.optimizer.eps", 1e-6),
    ("optimizer.betas", [0.8, 0.9], "training.optimizer.betas", [0.8, 0.9]),
    ("optimizer.momentum", 0.9, "training.optimizer.momentum", 0.9),
    ("optimizer.nesterov", True, "training.optimizer.nesterov", True),
    ("optimizer.centered", True, "training.optimizer.centered", True),
    ("optimizer.alpha", 0.9, "training.optimizer.alpha", 0.9),
    ("scheduler.type", "OneCycleLR", "training.scheduler.type", "one_cycle"),
    ("scheduler.type", "step", "training.scheduler.type", "step"),
    ("lr_scheduler.type", "StepLR", "training.scheduler.type", "step"),
    ("scheduler.factor", 0.3, "training.scheduler.factor", 0.3),
    ("scheduler.patience", 3, "training.scheduler.patience", 3),
    ("scheduler.min_lr", "1e-8", "training.scheduler.min_lr", 1e-8),
    ("scheduler.step_size", 4, "training.scheduler.step_size", 4),
    ("scheduler.gamma", 0.5, "training.scheduler.gamma", 0.5),
    ("scheduler.anneal_strategy", "linear", "training.scheduler.anneal_strategy", "linear"),
    ("scheduler.div_factor", 10, "training.scheduler.div_factor", 10.0),
    ("scheduler.final_div_factor", 100, "training.scheduler.final_div_factor", 100.0),
    ("early_stopping.enabled", False, "training.early_stopping.enabled", False),
    ("early_stopping.min_delta", 0.01, "training.early_stopping.min_delta", 0.01),
    ("early_stopping.track_overfitting", False, "training.early_stopping.track_overfitting", False),
    ("early_stopping.overfitting_gap_threshold", 1, "training.early_stopping.overfitting_gap_threshold", 1.0),
    ("early_stopping.overfitting_patience", 2, "training.early_stopping.overfitting_patience", 2),
    ("directories.images", "pictures", "data.images_dir", "pictures"),
    ("training.checkpoint_dir", "runs/1", "checkpoint.dir", "runs/1"),
    ("directories.models", "runs/1", "checkpoint.dir", "runs/1"),
    ("training.output_dir", "runs/1", "checkpoint.dir", "runs/1"),
    ("training.save_every_n_epochs", 3, "checkpoint.every_n_epochs", 3),
    ("training.resume", "last.pth", "checkpoint.resume", "last.pth"),
    ("training.resume_from", "last.pth", "checkpoint.resume", "last.pth"),
    ("wandb.project", "search", "logging.wandb.project", "search"),
    ("wandb.entity", "team", "logging.wandb.entity", "team"),
]


@pytest.mark.parametrize("task", tasks())
@pytest.mark.parametrize(("old", "value", "new", "meant"), SPELLINGS)
def test_older_spellings_and_values(old: str, value: Any, new: str, meant: Any, task: str) -> None:
    assert canonical_overrides({old: value}, task) == {new: meant}
    *sections, name = old.split(".")
    nested: dict[str, Any] = {name: value}
    for section in reversed(sections):
        nested = {section: nested}
    assert canonical_overrides(nested, task) == {new: meant}


def test_a_spelling_of_one_task_alone() -> None:
    said = {"directories": {"backgrounds": "scenery"}}
    assert canonical_overrides(said, "classification") == {"data.backgrounds_dir": "scenery"}
    with pytest.raises(ConfigError, match=r"directories\.backgrounds: unknown key"):
        canonical_overrides(said, TASK)


def test_no_spelling_is_missing_above() -> None:
    assert {old for old, *_ in SPELLINGS} | set(OF_ONE_TASK) >= set(RENAMES)


def pairs_of_one_key() -> list[tuple[str, str]]:
    keys: dict[str, list[str]] = {}
    for old, _, new, _ in SPELLINGS:
        keys.setdefault(new, [new])
        keys[new] += [old] if old not in keys[new] else []
    together = {"training.save_every_epoch", "training.save_every_n_epochs"}  # older files have both
    pairs = [pair for spellings in keys.values() for pair in itertools.combinations(spellings, 2)]
    return [pair for pair in pairs if set(pair) != together]


@pytest.mark.parametrize(("one", "other"), pairs_of_one_key())
def test_two_spellings_of_one_key_in_one_file_are_an_error(one: str, other: str) -> None:
    values = {old: value for old, value, *_ in reversed(SPELLINGS)} | {new: meant for _, _, new, meant in SPELLINGS}
    with pytest.raises(ConfigError) as caught:
        canonical_overrides({one: values[one], other: values[other]}, TASK)
    (problem,) = caught.value.problems
    assert problem.where == other
    assert problem.what == f"is set twice ({one} and {other} are the same key)"


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
        ("training.use_ema", "maybe"),
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
