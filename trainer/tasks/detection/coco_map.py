"""Mean average precision by COCO's definition (Lin et al. 2014), computed by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.tasks.detection.predictions import MOST, Detected

_AREAS = ("all", "small", "medium", "large")


def coco_metrics(
    truth: Sequence[NDArray[np.float64]], detections: Sequence[Detected], classes: Sequence[str], per_class: bool
) -> dict[str, float]:
    """`map` (IoU .50:.95), `ap50`, `ap75`, `ap_small`, `ap_medium`, `ap_large`, `ar`, and `ap_<class>`.

    `truth[i]` has one row for each object of image i: xywh in pixels, label, crowd, area. A number that the
    data leave undefined (no large object, no object of a class) is left out.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    ground = COCO(dataset(truth, classes))
    found = ground.loadRes(results(detections))
    judged = COCOeval_faster(ground, found, iouType="bbox", print_function=lambda *_: None)
    judged.params.maxDets = [1, 10, MOST]
    judged.evaluate()
    judged.accumulate()
    precision = np.asarray(judged.eval["precision"])[..., -1]  # [IoU, recall, class, area]
    recall = np.asarray(judged.eval["recall"])[..., -1]  # [IoU, class, area]
    numbers = {
        "map": precision[..., 0],
        "ap50": precision[0, ..., 0],
        "ap75": precision[5, ..., 0],
        **{f"ap_{name}": precision[..., place] for place, name in enumerate(_AREAS) if place},
        "ar": recall[..., 0],
    }
    if per_class:
        for label, name in enumerate(class_metrics(classes)):
            numbers[name] = precision[:, :, label, 0]
    defined = {name: values[values > -1] for name, values in numbers.items()}
    return {name: float(values.mean()) for name, values in defined.items() if values.size}


def class_metrics(classes: Sequence[str]) -> list[str]:
    """The metric names of the classes' APs, such as `ap_traffic_light`, each unique."""
    taken = {f"ap_{name}" for name in _AREAS}
    names = []
    for label, name in enumerate(classes):
        word = f"ap_{'_'.join(name.split())}"
        names.append(word if word not in taken else f"{word}_{label}")
        taken.add(names[-1])
    return names


def dataset(truth: Sequence[NDArray[np.float64]], classes: Sequence[str]) -> dict[str, Any]:
    """Ground truth in COCO's form; ids count from 1, since 0 means `unmatched` there."""
    objects = [(image, row) for image, rows in enumerate(truth, start=1) for row in rows.tolist()]
    return {
        "images": [{"id": image} for image in range(1, len(truth) + 1)],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": int(label) + 1,
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            for number, (image, (*box, label, crowd, area)) in enumerate(objects, start=1)
        ],
        "categories": [{"id": label, "name": name} for label, name in enumerate(classes, start=1)],
    }


def results(detections: Sequence[Detected]) -> list[dict[str, Any]]:
    """Detections in COCO's form."""
    return [
        {"image_id": image, "category_id": label + 1, "bbox": box, "score": score}
        for image, item in enumerate(detections, start=1)
        for box, label, score in zip(item.boxes.tolist(), item.labels.tolist(), item.scores.tolist(), strict=True)
    ]
