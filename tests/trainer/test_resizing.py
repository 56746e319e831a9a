"""Progressive resizing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trainer_parts import session_of, tiny

from trainer.api import ConfigError, Hooks
from trainer.loaders import size_at


def test_the_size_is_that_of_the_last_entry_begun(tmp_path: Path) -> None:
    config = tiny(tmp_path, training__resize_schedule=[[1, 20], [3, 24], [4, 28]])
    assert [size_at(config, epoch) for epoch in range(1, 7)] == [20, 20, 24, 28, 28, 28]
    assert size_at(tiny(tmp_path), 1) == 28


def test_batches_come_at_the_size_of_their_epoch(tmp_path: Path) -> None:
    with session_of(tiny(tmp_path, training__resize_schedule=[[1, 20], [2, 28]])) as session:
        sides = []
        for epoch in (1, 2):
            session.train(epoch, Hooks())
            sides.append(next(iter(session.run.loaders.val))["images"].shape[1])
    assert sides == [20, 28]


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ([[2, 32]], "start at epoch 1"),
        ([], "start at epoch 1"),
        ([[1, 32], [1, 48]], "epochs must rise"),
        ([[1, 32], [5, 48], [3, 64]], "epochs must rise"),
        ([[1, 8]], "every size"),
        ([[1, 32, 4]], "resize_schedule"),
        ("1x32", "must be a list"),
    ],
)
def test_a_wrong_schedule_is_refused(schedule: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        tiny(tmp_path, training__resize_schedule=schedule)
