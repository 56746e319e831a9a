"""Writes one whole set of scenes into an empty folder."""

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.data.scenes.content import class_scene_at, scene_at, stream
from trainer.data.scenes.draw import Mask, draw
from trainer.data.scenes.grammar import captions_at
from trainer.data.scenes.spec import KINDS, SceneFiles, ScenesSpec, is_validation

Progress = Callable[[int, int], None]

CATEGORY_IDS = {kind: number for number, kind in enumerate(KINDS, start=1)}


def write_scenes(spec: ScenesSpec, files: SceneFiles, progress: Progress) -> None:
    """Draw everything that `spec` asks for; `progress(done, of)` counts pictures."""
    total = spec.images + len(KINDS) * spec.images_per_class
    files.images_dir.mkdir()
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    rows: list[tuple[str, str]] = []
    for index in range(spec.images):
        name = f"{index:06d}.jpg"
        scene = scene_at(spec.seed, index, spec.simple)
        picture = draw(scene, spec.size_px, stream(spec.seed, "noise", index))
        _save(picture.image, files.images_dir / name)
        rows += ((name, caption) for caption in captions_at(spec.seed, index, scene, spec.captions_per_image))
        images.append({"id": index + 1, "file_name": name, "width": spec.size_px, "height": spec.size_px})
        for shape, mask in zip(scene.shapes, picture.masks, strict=True):
            boxes.append(_annotation(len(boxes) + 1, index + 1, CATEGORY_IDS[shape.kind], mask))
        progress(index + 1, total)
    _write_captions(rows, files.caption_file)
    _write_coco(images, boxes, files.annotations)
    train = [image for image in images if not is_validation(image["id"] - 1)]
    val = [image for image in images if is_validation(image["id"] - 1)]
    _write_coco(train, boxes, files.train_annotations)
    _write_coco(val, boxes, files.val_annotations)
    _write_classes(spec, files.classes_dir, lambda done: progress(spec.images + done, total))


def _write_classes(spec: ScenesSpec, folder: Path, progress: Callable[[int], None]) -> None:
    done = 0
    for kind in KINDS:
        (folder / kind).mkdir(parents=True)
        for index in range(spec.images_per_class):
            scene = class_scene_at(spec.seed, kind, index, spec.simple)
            picture = draw(scene, spec.size_px, stream(spec.seed, "noise", kind, index))
            _save(picture.image, folder / kind / f"{index:06d}.jpg")
            done += 1
            progress(done)


def _save(image: Image.Image, path: Path) -> None:
    # Full colour resolution: at this size the usual halving would blur colours across edges.
    image.save(path, format="JPEG", quality=90, subsampling=0)


def _annotation(number: int, image_id: int, category_id: int, mask: Mask) -> dict[str, Any]:
    """A COCO annotation: the tight box [x, y, width, height] around `mask`, and its area, in pixels."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    x, y = int(columns[0]), int(rows[0])
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1],
        "area": int(mask.sum()),
        "iscrowd": 0,
    }


def _write_captions(rows: Iterable[tuple[str, str]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "caption"))
        writer.writerows(rows)


def _write_coco(images: list[dict[str, Any]], boxes: list[dict[str, Any]], path: Path) -> None:
    """Write `images` with those of `boxes` that belong to them."""
    ids = {image["id"] for image in images}
    content = {
        "info": {"description": "Generated scenes of coloured shapes"},
        "images": images,
        "annotations": [box for box in boxes if box["image_id"] in ids],
        "categories": [{"id": number, "name": kind, "supercategory": "shape"} for kind, number in CATEGORY_IDS.items()],
    }
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")
