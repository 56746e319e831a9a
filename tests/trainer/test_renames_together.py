"""Older keys that mean something only together."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.api import ConfigError, assumptions, canonical_overrides


@pytest.mark.parametrize(
    ("older", "canonical"),
    [
        ({"training.use_ema": True}, {"training.ema_decay": 0.9999}),
        ({"training.use_ema": True, "training.ema_decay": 0.99}, {"training.ema_decay": 0.99}),
        ({"training.use_ema": False, "training.ema_decay": 0.99}, {"training.ema_decay": None}),
        (
            {"training.lr_mode": "finetune", "training.finetune_lr": 3e-5},
            {"training.optimizer.encoder_lr": 3e-5},
        ),
        ({"training.lr_mode": "finetune"}, {"training.optimizer.encoder_lr": 1e-5}),
        (
            {"training.lr_mode": "continue", "training.finetune_lr": 3e-5},
            {"training.optimizer.encoder_lr": None},
        ),
        (
            {"optimizer": {"lr_type": "split", "lr": 1e-3}},
            {"training.optimizer.lr": 1e-3, "training.optimizer.encoder_lr": 1e-4},
        ),
        (
            {"optimizer": {"lr_type": "split", "lr": 1e-3, "encoder_lr": 5e-4}},
            {"training.optimizer.lr": 1e-3, "training.optimizer.encoder_lr": 5e-4},
        ),
        ({"optimizer": {"lr_type": "single", "lr": 1e-3}}, {"training.optimizer.lr": 1e-3}),
        ({"optimizer.lr_type": "split"}, {"training.optimizer.encoder_lr": 1e-5}),
        (
            {"training.save_every_epoch": False, "training.save_every_n_epochs": 5},
            {"checkpoint.every_n_epochs": 5},
        ),
        (
            {"training.save_every_epoch": True, "training.save_every_n_epochs": 5},
            {"checkpoint.every_n_epochs": 1},
        ),
    ],
)
def test_they_become_one_canonical_key(older: dict[str, Any], canonical: dict[str, Any]) -> None:
    assert canonical_overrides(older, "captioning") == pytest.approx(canonical)


def test_in_a_whole_file_a_finetuning_rate_counts_only_in_that_mode() -> None:
    alone = {"training": {"finetune_lr": 3e-5}}
    assert canonical_overrides(alone, "captioning", whole_file=True) == {}
    assert canonical_overrides(alone, "captioning") == {"training.optimizer.encoder_lr": 3e-5}


@pytest.mark.parametrize("mode", ["finetuning", None, True])
def test_an_unknown_mode_is_refused(mode: Any) -> None:
    with pytest.raises(ConfigError, match=r"training\.lr_mode: must be finetune or continue, not"):
        canonical_overrides({"training.lr_mode": mode}, "captioning")


@pytest.mark.parametrize("kind", ["splt", 2, True])
def test_an_unknown_kind_of_rate_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.lr_type: must be split or single, not"):
        canonical_overrides({"optimizer": {"lr_type": kind, "lr": 1e-3}}, "captioning")


@pytest.mark.parametrize(
    ("older", "rate"),
    [
        ({"optimizer": {"lr_type": "split", "lr": 1e-3}}, "0.0001"),
        ({"optimizer.lr_type": "split"}, "1e-05"),
        ({"optimizer": {"lr_type": "split", "encoder_lr": 1e-3}}, None),
        ({"optimizer": {"lr_type": "single"}}, None),
        ({}, None),
    ],
)
def test_a_rate_that_was_assumed_is_said(older: dict[str, Any], rate: str | None) -> None:
    lines = assumptions(older, "captioning")
    assert len(lines) == (rate is not None)
    assert rate is None or f"training.optimizer.encoder_lr = {rate}, a tenth of the other" in lines[0]
