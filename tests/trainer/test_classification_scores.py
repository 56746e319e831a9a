"""The numbers that a classifier is judged by, and the losses that it is trained by."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classification_parts import tiny_classification, write_table
from torch.nn import functional as F

from trainer.learning.batch_norm import statistics_kept
from trainer.run.run import task_for
from trainer.tasks.classification.scores import confusion, macro_f1, matrix_of, one_label_scores, several_label_scores


def test_accuracy_f1_and_the_matrix_by_hand() -> None:
    # True 0 0 1 1 2, found 0 1 1 1 0: hits 1, 2, 0; F1 = 2·1/(2+2), 2·2/(2+3), 0 of (1+0).
    found = np.eye(4, dtype=np.float32)[[0, 1, 1, 1, 0]]
    scores, table = one_label_scores(found, np.array([0, 0, 1, 1, 2]))
    assert scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["f1_macro"] == pytest.approx((0.5 + 0.8 + 0.0) / 3), "class 3 occurs nowhere and counts nowhere"
    assert "top5_accuracy" not in scores
    assert table.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert matrix_of(table, "abcd") == {"labels": ["a", "b", "c", "d"], "counts": table.tolist()}


def test_top_five_counts_those_among_the_five_likeliest() -> None:
    found = np.arange(8, dtype=np.float32)[None].repeat(3, 0)
    scores, _ = one_label_scores(found, np.array([7, 3, 2]))
    assert (scores["accuracy"], scores["top5_accuracy"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_several_labels_are_right_together_or_alone() -> None:
    found = np.array([[0.9, 0.6, 0.1], [0.2, 0.4, 0.3], [0.9, 0.1, 0.7]], dtype=np.float32)
    truth = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=np.float32)
    scores = several_label_scores(found, truth, 0.5)
    assert scores["accuracy"] == pytest.approx(1 / 3)
    assert scores["label_accuracy"] == pytest.approx(7 / 9)
    assert scores["f1_macro"] == pytest.approx((1.0 + 1.0 + 0.0) / 3)
    assert several_label_scores(found, truth, 0.05)["accuracy"] == 0.0


def test_nothing_found_and_nothing_there_is_zero() -> None:
    none = np.zeros(3, dtype=np.int64)
    assert macro_f1(none, none, none) == 0.0
    assert confusion(none[:0], none[:0], 2).tolist() == [[0, 0], [0, 0]]


LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -0.3]])
LABELS = torch.tensor([0, 2])
HOT = F.one_hot(LABELS, 3).float()
EXPECTED: dict[str, torch.Tensor] = {
    "cross_entropy": F.cross_entropy(LOGITS, LABELS),
    "bce_with_logits": F.binary_cross_entropy_with_logits(LOGITS, HOT),
    "bce": F.binary_cross_entropy_with_logits(LOGITS, HOT),
    "mse": F.mse_loss(LOGITS.softmax(1), HOT),
    "l1": F.l1_loss(LOGITS.softmax(1), HOT),
    "smooth_l1": F.smooth_l1_loss(LOGITS.softmax(1), HOT),
}


class Fixed(torch.nn.Module):
    """A model that always says the same."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(LOGITS.clone())

    def forward(self, _images: torch.Tensor) -> torch.Tensor:
        return self.logits


def loss_of(folder: Path, labels: torch.Tensor = LABELS, **settings: Any) -> torch.Tensor:
    task = task_for(tiny_classification(folder, **settings))
    batch = {"images": torch.zeros(2, 3, 8, 8), "labels": labels, "weight": 2}
    return task.loss(Fixed(), batch).detach() / 2


@pytest.mark.parametrize("kind", sorted(EXPECTED))
def test_each_criterion_is_pytorchs_mean(kind: str, tmp_path: Path) -> None:
    assert float(loss_of(tmp_path, criterion__type=kind)) == pytest.approx(float(EXPECTED[kind]), rel=1e-5)
    assert float(loss_of(tmp_path, HOT, criterion__type=kind)) == pytest.approx(float(EXPECTED[kind]), rel=1e-5)


def test_smoothing_is_for_training_only(tmp_path: Path) -> None:
    smooth = {"criterion__label_smoothing": 0.2}
    expected = F.cross_entropy(LOGITS, LABELS, label_smoothing=0.2)
    assert float(loss_of(tmp_path, **smooth)) == pytest.approx(float(expected), rel=1e-6)
    task = task_for(
        tiny_classification(tmp_path, **smooth), {"classes": ["a", "b", "c"], "several": False, "built_px": 8}
    )
    batch = {"images": torch.zeros(2, 3, 8, 8), "labels": LABELS, "weight": 2, "files": ["x", "y"]}
    with torch.no_grad():
        val_loss = task.evaluate(Fixed(), [batch]).metrics["val_loss"]
    assert val_loss == pytest.approx(float(EXPECTED["cross_entropy"]))


def test_a_sum_has_the_gradient_of_a_sum(tmp_path: Path) -> None:
    grads = []
    for reduction in ("mean", "sum"):
        task, model = task_for(tiny_classification(tmp_path, criterion__reduction=reduction)), Fixed()
        task.loss(model, {"images": torch.zeros(2, 3, 8, 8), "labels": LABELS, "weight": 2}).backward(torch.tensor(0.5))
        grads.append(model.logits.grad)
    assert torch.allclose(grads[0] * 2, grads[1])


def test_one_image_alone_is_trained_on(tmp_path: Path) -> None:
    """BatchNorm over maps of one place has no statistics of a single image: of two equal ones it makes a gradient of
    any size."""
    task = task_for(tiny_classification(tmp_path, data__image_size=16))
    rows = task.open_rows()
    model = task.build_model(weights=True).train()
    sizes = []
    for keys, how in (([(1, 0)], statistics_kept(model)), ([(1, n) for n in range(8)], nullcontext())):
        model.zero_grad()
        with how:
            (task.loss(model, rows.train.__getitems__(keys)) / len(keys)).backward()
        grads = [parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]
        sizes.append(float(torch.stack(grads).norm()))
    assert sizes[0] < 10 * sizes[1], sizes
    assert all(module.training for module in model.modules())


def test_a_model_that_says_nothing_of_all_but_one_class_has_one_right() -> None:
    sure = np.eye(10, dtype=np.float32)[[0] * 10]
    scores, _ = one_label_scores(sure, np.arange(10))
    assert (scores["accuracy"], scores["top5_accuracy"]) == (0.1, 0.5)


@pytest.mark.parametrize("on", [True, False])
def test_what_an_evaluation_gives(on: bool, tmp_path: Path) -> None:
    config = tiny_classification(tmp_path, evaluation__confusion_matrix=on, evaluation__samples=3 * on)
    task = task_for(config)
    rows = task.open_rows()
    model = task.build_model(weights=True).eval()
    with torch.inference_mode():
        scores = task.evaluate(model, [rows.val.__getitems__([(1, n) for n in range(len(rows.val))])])
    assert set(scores.metrics) == {"val_loss", "accuracy", "f1_macro"}
    assert len(scores.samples) == 3 * on
    if not on:
        assert scores.matrix is None
        return
    assert scores.matrix is not None
    assert scores.matrix["labels"] == ["circle", "cross", "square", "star", "triangle"]
    assert np.sum(scores.matrix["counts"]) == len(rows.val)
    assert np.trace(np.array(scores.matrix["counts"])) == round(scores.metrics["accuracy"] * len(rows.val))
    first = scores.samples[0]
    assert first["references"] == [Path(first["image"]).parent.name]
    assert first["predictions"][0].split(" (")[0] in scores.matrix["labels"]


def test_several_labels_from_evaluation_to_prediction(tmp_path: Path) -> None:
    named = write_table(tmp_path, [(f"{n}.png", ("a;b", "b", "", "c")[n % 4]) for n in range(16)])
    config = tiny_classification(tmp_path, named, criterion__type="bce_with_logits", evaluation__threshold=0.01)
    task = task_for(config)
    rows = task.open_rows()
    model = task.build_model(weights=True).eval()
    with torch.inference_mode():
        scores = task.evaluate(model, [rows.val.__getitems__([(1, n) for n in range(3)])])
        found = list(task.predict(model, tmp_path / "images", torch.device("cpu")))
    assert set(scores.metrics) == {"val_loss", "accuracy", "label_accuracy", "f1_macro"}
    assert scores.matrix is None
    assert len(found) == 16
    assert sorted(found[0]["label"].split(";")) == ["a", "b", "c"], "nearly nothing is below 1 %"
    shares = [float(score) for score in found[0]["score"].split(";")]
    assert shares == sorted(shares, reverse=True)
