"""Small real parts for the classification tests: a tiny classifier, labelled images of everything odd."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.api import resolve_config

# 40 pictures of 32 px in 5 classes, 32 of them to train on: 4 batches, some 0.2 s an epoch. 0.4 M parameters.
TINY_CLASSIFICATION: dict[str, Any] = {
    "task": "classification",
    "seed": 3,
    "device": "cpu",
    "data": {"scenes": {"images": 40, "size": 32, "captions_per_image": 1}, "image_size": 32, "num_workers": 0},
    "model": {"library": "timm", "backbone_name": "test_resnet"},
    "training": {
        "epochs": 3,
        "schedule_epochs": 3,
        "batch_size": 8,
        "optimizer": {"type": "adamw", "lr": 2e-3},
        "early_stopping": {"enabled": False},
    },
    "evaluation": {"samples": 2},
}
SIZE = (24, 20)


def tiny_classification(folder: Path, *layers: Mapping[str, Any], **overrides: Any) -> Any:
    """The tiny configuration with its checkpoints in `folder`; `a__b=1` stands for `a.b`."""
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return resolve_config(TINY_CLASSIFICATION, {"checkpoint.dir": str(folder)}, *layers, dotted)


def write_picture(path: Path, number: int = 0, mode: str = "RGB") -> Path:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (SIZE[1], SIZE[0], 4), dtype=np.uint8)
    Image.fromarray(pixels, "RGBA").convert(mode).save(path)
    return path


def write_folders(folder: Path, sizes: Mapping[str, int]) -> Path:
    """One folder per class with so many pictures."""
    for number, (name, count) in enumerate(sizes.items()):
        (folder / name).mkdir(parents=True)
        for place in range(count):
            write_picture(folder / name / f"{place}.png", 100 * number + place)
    return folder


def write_table(folder: Path, rows: Sequence[tuple[str, str]], name: str = "labels.csv") -> dict[str, Any]:
    """A CSV of labels with its pictures, and the overrides that name both."""
    for number, image in enumerate(dict.fromkeys(image for image, _ in rows)):
        if image:
            write_picture(folder / "images" / image, number)
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *rows])
    return {"data.images_dir": str(folder / "images"), "data.labels_file": str(folder / name)}
