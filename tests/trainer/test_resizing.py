"""Progressive resizing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from classification_parts import tiny_classification
from detection_parts import tiny_detection
from diffusion_parts import tiny_diffusion
from PIL import Image
from trainer_parts import session_of, tiny, trained

from trainer.api import ConfigError, Hooks, evaluate, predict
from trainer.checkpoints.files import LAST
from trainer.data.loaders import size_at


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


@pytest.mark.parametrize("make", [tiny, tiny_classification, tiny_detection, tiny_diffusion])
def test_a_resized_run_is_used_at_the_size_that_it_ended_on(make: Any, tmp_path: Path) -> None:
    """`evaluate` finds what the last evaluation found, and not what the model makes of the size that it began with."""
    small, large = (16, 32) if make is tiny_diffusion else (32, 64)
    config = make(
        tmp_path,
        data__image_size=small,
        training__resize_schedule=[[1, small], [2, large]],
        training__epochs=2,
        training__early_stopping__enabled=False,
    )
    last = trained(config).evaluations[-1].metrics["val_loss"]
    assert evaluate(tmp_path / LAST, {})["val_loss"] == pytest.approx(last, rel=1e-5)
    asked = evaluate(tmp_path / LAST, {"data.image_size": small})
    assert asked["val_loss"] != pytest.approx(last, rel=1e-5), "another size is used where it is asked for"


def test_images_are_made_at_the_size_that_is_trained_at(tmp_path: Path) -> None:
    config = tiny_diffusion(
        tmp_path, data__image_size=16, training__resize_schedule=[[1, 16], [2, 32]], training__epochs=2
    )
    sides = []
    with session_of(config) as session:
        for epoch in (1, 2):
            session.train(epoch, Hooks())
            with Image.open(next((tmp_path / "samples").glob("*.png"))) as picture:
                sides.append(picture.size)
    assert sides == [(16, 16), (32, 32)]
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.txt").write_text("a red circle")
    (row,) = predict(tmp_path / LAST, tmp_path / "prompts", {})
    with Image.open(io.BytesIO(row["generated"])) as picture:  # type: ignore[arg-type]
        assert picture.size == (32, 32)
