"""Small real parts for the detection tests: a tiny detector, a COCO data set with everything odd in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.api import resolve_config

# 24 scenes of 64 px, 19 of them to train on: 5 batches, some 0.3 s an epoch. 0.06 M parameters.
TINY_DETECTION: dict[str, Any] = {
    "task": "detection",
    "seed": 3,
    "device": "cpu",
    "data": {
        "scenes": {"images": 24, "size": 64, "captions_per_image": 1},
        "image_size": 64,
        "num_workers": 0,
    },
    "model": {
        "name": "rt_detr_v2",
        "num_queries": 12,
        "num_denoising": 0,
        "d_model": 32,
        "attention_heads": 2,
        "decoder_layers": 2,
        "feedforward_dim": 32,
        "hidden_expansion": 0.5,
        "levels": 2,
        "backbone_block": "basic",
        "backbone_stem": 8,
        "backbone_widths": [8, 16, 24],
        "backbone_depths": [1, 1, 1],
    },
    "training": {
        "epochs": 3,
        "schedule_epochs": 3,
        "batch_size": 4,
        "val_batch_size": 4,
        "grad_clip": 1.0,
        "optimizer": {"type": "adamw", "lr": 2e-3},
        "early_stopping": {"enabled": False},
    },
    "evaluation": {"samples": 2},
}


def tiny_detection(folder: Path, *layers: dict[str, Any], **overrides: Any) -> Any:
    """The tiny configuration with its checkpoints in `folder`; `a__b=1` stands for `a.b`."""
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return resolve_config(TINY_DETECTION, {"checkpoint.dir": str(folder)}, *layers, dotted)


def coco_content(images: int = 10) -> dict[str, Any]:
    """Images of 48 × 32 px; ids with gaps; image 100 has no box, 103 a crowd, 106 a box rounded over its border."""
    names = [f"{number}.png" for number in range(images)]
    boxes = [
        {"id": 7 * n, "image_id": 100 + n, "category_id": 20 - 9 * (n % 2), "bbox": [4 + n, 3, 20, 12 + n]}
        for n in range(1, images)
    ]
    boxes.append({"id": 900, "image_id": 103, "category_id": 20, "bbox": [0, 0, 40, 30], "iscrowd": 1, "area": 600})
    boxes.append({"id": 901, "image_id": 106, "category_id": 11, "bbox": [-1.0, 20.0, 21.0, 12.5]})
    return {
        "images": [{"id": 100 + n, "file_name": name, "width": 48, "height": 32} for n, name in enumerate(names)],
        "annotations": boxes,
        "categories": [{"id": 20, "name": "traffic light"}, {"id": 11, "name": "cat"}],
    }


def write_coco(folder: Path, content: dict[str, Any], name: str = "annotations.json") -> dict[str, Any]:
    """A data set on disk and the overrides that name it; images are noise."""
    pictures = folder / "images"
    pictures.mkdir(parents=True, exist_ok=True)
    for entry in content.get("images", ()):
        path = pictures / str(entry.get("file_name", "")) if isinstance(entry, dict) else pictures
        if path.suffix and not path.exists():
            pixels = np.random.default_rng(len(path.stem)).integers(0, 255, (32, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return {"data.images_dir": str(pictures), "data.annotations": str(folder / name)}


def rectangle(side: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """A white box (left, top, right, bottom) on black, uint8 [side, side, 3]."""
    pixels = np.zeros((side, side, 3), dtype=np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return pixels


def seen_box(pixels: np.ndarray, level: int = 128) -> np.ndarray:
    """xyxy of what is bright in a picture [3, side, side]."""
    bright = pixels.min(axis=0) > level
    columns, rows = np.flatnonzero(bright.any(axis=0)), np.flatnonzero(bright.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
