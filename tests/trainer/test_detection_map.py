"""mAP equals pycocotools' to the last digits that matter."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from trainer.tasks.detection.coco_map import class_metrics, coco_metrics, dataset, results
from trainer.tasks.detection.predictions import Detected

CLASSES = ["cat", "traffic light", "dog"]
NAMES = ["map", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", None, None, "ar"]  # pycocotools' order
NOTHING = Detected(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0))


def recorded(seed: int, images: int, largest: float = 150.0) -> tuple[list[np.ndarray], list[Detected]]:
    """Objects, crowds among them, and detections: some near, some of a wrong class, some of nothing."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(images):
        n = int(rng.integers(0, 6))
        boxes = np.column_stack([rng.uniform(0, 200, (n, 2)), rng.uniform(4, largest, (n, 2))])
        labels, crowd = rng.integers(0, 2, n), rng.random(n) < 0.2
        truth.append(np.column_stack([boxes, labels, crowd, boxes[:, 2:].prod(axis=1) * 0.8]).reshape(n, 7))
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 6, (2 * n, 4))
        near[:, 2:] = np.maximum(near[:, 2:], 1.0)
        strange = np.column_stack([rng.uniform(0, 200, (120, 2)), rng.uniform(4, 90, (120, 2))])
        guessed = np.concatenate([np.repeat(labels, 2), rng.integers(0, 3, 120)])
        guessed[: 2 * n : 5] = 2
        scores = np.concatenate([rng.uniform(0.2, 1, 2 * n), rng.uniform(0, 0.5, 120)])
        best = np.argsort(-scores)[:100]
        found.append(Detected(np.concatenate([near, strange])[best], guessed[best], scores[best]))
    return truth, found


def by_pycocotools(truth: Sequence[np.ndarray], found: Sequence[Detected]) -> tuple[list[float], Any]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = dataset(truth, CLASSES)
        ground.createIndex()
        judged = COCOeval(ground, ground.loadRes(results(found)), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return [float(value) for value in judged.stats], judged.eval["precision"]


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_pycocotools(seed: int) -> None:
    truth, found = recorded(seed, images=25)
    stats, precision = by_pycocotools(truth, found)
    ours = coco_metrics(truth, found, CLASSES, per_class=True)
    for name, value in zip(NAMES, stats, strict=False):
        if name is not None:
            assert ours[name] == pytest.approx(value, abs=1e-6), name
    for label, name in enumerate(["ap_cat", "ap_traffic_light"]):
        assert ours[name] == pytest.approx(float(precision[:, :, label, 0, -1].mean()), abs=1e-6)
    assert 0.05 < ours["map"] < 0.95
    assert "ap_dog" not in ours, "no dog is annotated"


def test_what_is_undefined_is_left_out() -> None:
    truth, found = recorded(0, images=10, largest=20.0)
    ours = coco_metrics(truth, found, CLASSES, per_class=False)
    assert set(ours) == {"map", "ap50", "ap75", "ap_small", "ar"}
    assert all(np.isfinite(value) for value in ours.values())


def test_perfect_and_missing_detections() -> None:
    truth, _ = recorded(1, images=6)
    perfect = [Detected(rows[:, :4], rows[:, 4].astype(np.int64), np.ones(len(rows))) for rows in truth]
    assert coco_metrics(truth, perfect, CLASSES, per_class=True)["map"] == pytest.approx(1.0)
    assert coco_metrics(truth, [NOTHING] * 6, CLASSES, per_class=True)["map"] == 0.0


def test_crowds_and_images_without_objects_cost_nothing() -> None:
    box = np.array([[10.0, 10, 40, 40, 0, 0, 1600]])
    crowd = np.array([[100.0, 100, 90, 90, 0, 1, 8100]])
    good = Detected(np.array([[10.0, 10, 40, 40], [110, 110, 30, 30]]), np.array([0, 0]), np.array([0.5, 0.9]))
    assert coco_metrics([np.concatenate([box, crowd])], [good], CLASSES, False)["map"] == pytest.approx(1.0)
    truth = [np.concatenate([box, crowd]), np.zeros((0, 7))]
    assert coco_metrics(truth, [good, NOTHING], CLASSES, False)["map"] == pytest.approx(1.0)


def test_each_class_has_a_name_of_its_own() -> None:
    assert class_metrics(["cat", "small", "traffic light", "traffic  light"]) == [
        "ap_cat",
        "ap_small_1",
        "ap_traffic_light",
        "ap_traffic_light_3",
    ]
