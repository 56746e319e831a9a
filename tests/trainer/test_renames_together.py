"""Older keys that mean something only together."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.api import canonical_overrides


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
        ({"training.compile_model": True}, {"training.compile": True}),
    ],
)
def test_they_become_one_canonical_key(older: dict[str, Any], canonical: dict[str, Any]) -> None:
    assert canonical_overrides(older, "captioning") == pytest.approx(canonical)
