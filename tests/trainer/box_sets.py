"""One small set of images and boxes, written in every format and layout that people bring."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

WIDTH, HEIGHT = 48, 32
CLASSES = ("cat", "dog")
# Class and xywh of the boxes of each image; image 05 has none.
BOXES: dict[str, list[tuple[int, list[float]]]] = {f"{n:02}": [(n % 2, [6 + n, 4, 16, 10])] for n in range(10)}
BOXES["03"].append((1, [20, 10, 20.5, 12.25]))
BOXES["05"] = []
TRAIN, VAL = [f"{n:02}" for n in range(8)], ["08", "09"]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB").save(path)


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def yolo(images: Path, labels: Path, names: Iterable[str] = BOXES, polygons: bool = False) -> None:
    """Images and labels; an image without boxes has no file of labels."""
    for name in names:
        picture(images / f"{name}.png")
        lines = []
        for label, (x, y, w, h) in BOXES[name]:
            places = [(x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT]
            if polygons:
                corners = ((x, y), (x + w, y), (x + w, y + h), (x, y + h))
                places = [part for left, top in corners for part in (left / WIDTH, top / HEIGHT)]
            lines.append(" ".join([str(label), *(f"{place:.8f}" for place in places)]))
        if lines:
            text(labels / f"{name}.txt", "\n".join(lines) + "\n")


def xml(
    name: str, file: str, size: str = f"<width>{WIDTH}</width><height>{HEIGHT}</height>", difficult: int = 0
) -> str:
    objects = "".join(
        f"<object><name>{CLASSES[label]}</name><difficult>{difficult}</difficult><bndbox><xmin>{x + 1}</xmin>"
        f"<ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"
        for label, (x, y, w, h) in BOXES[name]
    )
    return f"<annotation><filename>{file}</filename><size>{size}<depth>3</depth></size>{objects}</annotation>"


def voc(images: Path, annotations: Path, names: Iterable[str] = BOXES, prefix: str = "", **more: Any) -> None:
    for name in names:
        picture(images / f"{prefix}{name}.png")
        text(annotations / f"{name}.xml", xml(name, f"{prefix}{name}.png", **more))


def coco(names: Sequence[str]) -> str:
    images = [{"id": n, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT} for n, name in enumerate(names)]
    boxes = [
        {"id": 100 * n + m, "image_id": n, "category_id": label, "bbox": box}
        for n, name in enumerate(names)
        for m, (label, box) in enumerate(BOXES[name])
    ]
    categories = [{"id": label, "name": name} for label, name in enumerate(CLASSES)]
    return json.dumps({"images": images, "annotations": boxes, "categories": categories})


def columns(name: str) -> dict[str, Any]:
    boxes = BOXES[name]
    return {"bbox": [box for _, box in boxes], "categories": [CLASSES[label] for label, _ in boxes]}


def entries(name: str) -> list[dict[str, Any]]:
    return [{"bbox": box, "category": CLASSES[label]} for label, box in BOXES[name]]


def lines(folder: Path, names: Iterable[str] = BOXES, objects: Any = columns) -> Path:
    """The images of a folder with JSON lines beside them."""
    for name in names:
        picture(folder / f"{name}.png")
    records = [json.dumps({"file_name": f"{name}.png", "objects": objects(name)}) for name in names]
    return text(folder / "metadata.jsonl", "\n".join(records) + "\n")
