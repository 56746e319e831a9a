"""What a schedule cannot do in a run, said before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trainer_parts import tiny

from trainer.api import check_data

NEVER, MOMENTUM = "the warm-up never ends, and the rate does not reach 0.005", "has no effect: one_cycle moves it"


def warnings(folder: Path, **settings: Any) -> tuple[str, ...]:
    """Of the tiny run, whose 4 epochs have 8 steps each."""
    return check_data(tiny(folder, **{f"training__{key}": value for key, value in settings.items()})).warnings


@pytest.mark.parametrize(
    ("settings", "both"),
    [
        ({"scheduler__warmup_steps": 32}, ("warmup_steps=32", "32 optimizer steps")),
        ({"scheduler__warmup_steps": 500}, ("warmup_steps=500", "32 optimizer steps")),
        ({"scheduler__warmup_steps": 16, "accumulate_grad_batches": 2}, ("warmup_steps=16", "16 optimizer steps")),
        ({"scheduler__warmup_steps": 3, "max_iter": 2}, ("warmup_steps=3", "2 optimizer steps")),
        ({"scheduler__warmup_steps": 4, "epochs": 1, "batch_size": 100}, ("warmup_steps=4", "1 optimizer step:")),
        ({"scheduler__warmup_fraction": 0.5, "epochs": 2}, ("warmup_fraction=0.5", "16 optimizer steps")),
    ],
)
def test_a_warm_up_without_end(settings: dict[str, Any], both: tuple[str, str], tmp_path: Path) -> None:
    (said,) = warnings(tmp_path, **settings)
    assert all(number in said for number in (*both, NEVER))


@pytest.mark.parametrize(
    "settings",
    [
        {"scheduler__warmup_steps": 31},
        {"scheduler__warmup_steps": 0, "max_iter": 1},
        {"scheduler__warmup_steps": 500, "scheduler__type": "one_cycle"},
        {"scheduler__type": "one_cycle"},
        {"optimizer__type": "sgd", "optimizer__momentum": 0.9},
    ],
)
def test_of_what_works_nothing_is_said(settings: dict[str, Any], tmp_path: Path) -> None:
    assert not warnings(tmp_path, **settings)


def test_a_momentum_that_the_schedule_replaces_is_said(tmp_path: Path) -> None:
    sgd = {"scheduler__type": "one_cycle", "optimizer__type": "sgd", "optimizer__momentum": 0.9}
    (said,) = warnings(tmp_path, **sgd)
    assert said.startswith(f"training.optimizer.momentum {MOMENTUM} between 0.85 and 0.95")
    (said,) = warnings(tmp_path, scheduler__type="one_cycle", optimizer__betas=[0.8, 0.9])
    assert said.startswith(f"the first of training.optimizer.betas {MOMENTUM}")
    assert not warnings(tmp_path, **sgd, scheduler__cycle_momentum=False)
