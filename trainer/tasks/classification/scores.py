"""Scores of a classifier's predictions: accuracy, macro F1, top 5, the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
MOST_CLASSES = 100  # in a confusion matrix for a report


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> Counts:
    """The confusion matrix: counts [true class, predicted class]."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def macro_f1(hits: Counts, true: Counts, predicted: Counts) -> float:
    """The mean of F1 = 2 · hits / (true + predicted) over the classes that occur, in truth or in prediction."""
    total = true + predicted
    occur = total > 0
    return float(np.mean(2.0 * hits[occur] / total[occur])) if occur.any() else 0.0


def one_label_scores(probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> tuple[dict[str, float], Counts]:
    """Metrics and confusion matrix; `probabilities` is [images, classes], `truth` [images]."""
    images, classes = probabilities.shape
    table = confusion(truth, probabilities.argmax(axis=1), classes)
    metrics = {
        "accuracy": float(np.trace(table)) / images,
        "f1_macro": macro_f1(np.diag(table), table.sum(axis=1), table.sum(axis=0)),
    }
    if classes > 5:
        of_truth = probabilities[np.arange(images), truth][:, None]
        # Of equal ones the earlier class comes first; else a model with 0 for all but one would have five right.
        before = (probabilities == of_truth) & (np.arange(classes) < truth[:, None])
        metrics["top5_accuracy"] = float((((probabilities > of_truth) | before).sum(axis=1) < 5).mean())
    return metrics, table


def several_label_scores(
    probabilities: NDArray[np.float32], truth: NDArray[np.float32], threshold: float
) -> dict[str, float]:
    """Metrics where each class is predicted on its own; both arrays are [images, classes].

    `accuracy` is the share of images whose labels are all correct, `label_accuracy` that of single answers.
    """
    predicted, true = probabilities >= threshold, truth > 0.5
    right = predicted == true
    return {
        "accuracy": float(right.all(axis=1).mean()),
        "label_accuracy": float(right.mean()),
        "f1_macro": macro_f1((predicted & true).sum(axis=0), true.sum(axis=0), predicted.sum(axis=0)),
    }


def matrix_of(table: Counts, classes: Sequence[str]) -> dict[str, Any]:
    """The confusion matrix as reports take it: rows are true labels, columns predicted ones."""
    return {"labels": list(classes), "counts": table.tolist()}
