"""Predicted boxes, in pixels of the files, from a detector's raw output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_convert

MOST = 100  # detections of an image that count, as in COCO


@dataclass(frozen=True)
class Detected:
    """The detections of one image, best first. boxes: xywh in pixels of the file [n, 4]."""

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]

    def above(self, threshold: float) -> Detected:
        keep = self.scores >= threshold
        return Detected(self.boxes[keep], self.labels[keep], self.scores[keep])


def detections(logits: Tensor, boxes: Tensor, places: Tensor, sizes: Tensor, no_object: bool) -> list[Detected]:
    """The best MOST detections of each image, without any threshold.

    logits: [batch, queries, classes], one more with `no_object`; boxes: cxcywh as parts of the square [batch,
    queries, 4]; places: xywh of each picture as parts of its square [batch, 4]; sizes: width and height in
    pixels [batch, 2].
    """
    scores, labels, queries = _best(logits.float().nan_to_num(), no_object)
    found = boxes.float().nan_to_num().gather(1, queries[..., None].expand(-1, -1, 4))
    square = box_convert(found, "cxcywh", "xyxy")
    offset = places[:, None, :2].repeat(1, 1, 2)
    extent = places[:, None, 2:].repeat(1, 1, 2)
    pixels = ((square - offset) / extent).clamp(0.0, 1.0).double() * sizes[:, None].repeat(1, 1, 2)
    wide = box_convert(pixels, "xyxy", "xywh").cpu().numpy()
    return [
        Detected(box, label, score)
        for box, label, score in zip(wide, labels.cpu().numpy(), scores.double().cpu().numpy(), strict=True)
    ]


def _best(logits: Tensor, no_object: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, labels and queries, each [batch, n], by falling score.

    With sigmoids a query may stand for several classes; with a softmax it stands for its best one.
    """
    if no_object:
        likeliest, labels = logits.softmax(-1)[..., :-1].max(-1)
        scores, queries = likeliest.topk(min(MOST, likeliest.shape[1]), dim=1)
        return scores, labels.gather(1, queries), queries
    flat = logits.sigmoid().flatten(1)
    scores, index = flat.topk(min(MOST, flat.shape[1]), dim=1)
    classes = logits.shape[-1]
    return scores, index % classes, torch.div(index, classes, rounding_mode="floor")


def box_text(box: Sequence[float]) -> str:
    """`12,30,64,48`: left, top, width, height in pixels."""
    return ",".join(f"{value:.0f}" for value in box)


def sample_of(
    file: str, truth: Sequence[tuple[str, Sequence[float]]], predicted: Sequence[tuple[str, Sequence[float], float]]
) -> dict[str, Any]:
    """A sample for reports: the true and the predicted boxes of an image, with label, xywh and score, also as text."""
    return {
        "image": file,
        "references": [f"{label} at {box_text(box)}" for label, box in truth],
        "predictions": [f"{label} {score:.2f} at {box_text(box)}" for label, box, score in predicted],
        "reference_boxes": [{"label": label, "place": _tenths(box)} for label, box in truth],
        "predicted_boxes": [
            {"label": label, "place": _tenths(box), "score": round(float(score), 4)} for label, box, score in predicted
        ],
    }


def _tenths(box: Sequence[float]) -> list[float]:
    return [round(float(value), 1) for value in box]
