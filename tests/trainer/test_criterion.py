"""Losses by name, and which of them a task takes."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from detection_parts import tiny_detection
from torch.nn import functional as F
from trainer_parts import tiny, trained

from trainer.api import ConfigError
from trainer.config.settings import CriterionSettings
from trainer.learning.criterion import CRITERIA, summed_loss, with_reduction

SCORES = torch.tensor([[0.2, 0.7, 0.1], [0.5, 0.3, 0.2]])
CLASSES = torch.tensor([1, 2])


def test_every_name_of_the_schema_has_its_function() -> None:
    assert set(CRITERIA) == set(get_args(CriterionSettings.model_fields["type"].annotation))


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("bce", torch.nn.BCELoss),
        ("bce_with_logits", torch.nn.BCEWithLogitsLoss),
        ("mse", torch.nn.MSELoss),
        ("l1", torch.nn.L1Loss),
        ("smooth_l1", torch.nn.SmoothL1Loss),
    ],
)
def test_each_is_pytorchs_own(kind: str, layer: type[torch.nn.Module]) -> None:
    target = F.one_hot(CLASSES, 3).float()
    assert summed_loss(kind, SCORES, target) == layer(reduction="sum")(SCORES, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert summed_loss(kind, SCORES, target).dtype == torch.float32


def test_cross_entropy_takes_its_options() -> None:
    options = {"label_smoothing": 0.1, "ignore_index": 2}
    expected = torch.nn.CrossEntropyLoss(reduction="sum", **options)(SCORES, CLASSES)
    assert summed_loss("cross_entropy", SCORES, CLASSES, **options) == expected


def test_a_sum_differs_from_a_mean_only_in_its_gradient() -> None:
    grads = {}
    for reduction in ("mean", "sum"):
        weight = torch.tensor([1.0, 2.0], requires_grad=True)
        loss = with_reduction((weight**2).sum(), 4.0, reduction)
        assert float(loss.detach()) == 5.0
        loss.backward(torch.tensor(1 / 4.0))  # as the loop does
        grads[reduction] = weight.grad.tolist()
    assert grads == {"mean": [0.5, 1.0], "sum": [2.0, 4.0]}


def test_captioning_trains_with_either_reduction_and_with_smoothing(tmp_path: Path) -> None:
    """Plain gradient descent on the sum is descent on the mean with a rate as many times larger."""
    still = {
        "training__epochs": 1, "training__max_iter": 1, "training__grad_clip": 0.0, "model__dropout": 0.0,
        "training__optimizer__type": "sgd", "training__scheduler__type": "constant",
        "training__scheduler__warmup_steps": 0, "training__optimizer__lr": 1e-3,
    }  # fmt: skip
    mean, total, smooth = (
        trained(tiny(tmp_path / name, **still, **{f"criterion__{key}": value})).evaluations[0].metrics
        for name, key, value in (
            ("mean", "reduction", "mean"),
            ("sum", "reduction", "sum"),
            ("smooth", "label_smoothing", 0.2),
        )
    )
    assert mean["train_loss"] == pytest.approx(total["train_loss"], rel=1e-6)
    assert total["val_loss"] < mean["val_loss"]
    assert smooth["train_loss"] != mean["train_loss"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("criterion__type", "mse", r"criterion\.type: must be one of cross_entropy, not 'mse'"),
        ("criterion__reduction", "none", r"criterion\.reduction: must be one of mean, sum, not 'none'"),
        ("criterion__label_smoothing", 1.0, r"criterion\.label_smoothing: .*less than 1"),
    ],
)
def test_what_captioning_does_not_take_is_said(key: str, value: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        tiny(tmp_path, **{key: value})


def test_what_detection_does_not_take_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"criterion\.type: must be one of set_prediction, not 'cross_entropy'"):
        tiny_detection(tmp_path, criterion__type="cross_entropy")


def test_smoothing_belongs_to_classes() -> None:
    with pytest.raises(ValueError, match="mse does not take label_smoothing"):
        CriterionSettings(type="mse", label_smoothing=0.1)
