"""JSON lines with the objects of an image in each: the `datasets` library's folders of images. Imports no torch.

{"file_name": "a.png", "objects": {"bbox": [[1, 2, 3, 4]], "categories": [0]}}, or a list of objects, each with its own
bbox and category. Source: the documentation of `datasets` on object detection.
"""

from __future__ import annotations

from typing import Any

from trainer.store.json_files import json_content
from trainer.tasks.detection.content import Content, Source, as_number
from trainer.tasks.detection.yolo import class_names

_FILES = ("file_name", "image", "file", "path")
_BOXES = ("bbox", "bboxes", "boxes", "box")
_CLASSES = ("category", "categories", "category_id", "label", "labels", "class", "name")
_OTHERS = {"area": ("area", "areas"), "iscrowd": ("iscrowd", "is_crowd")}


def read_object_lines(source: Source) -> Content:
    """The images and boxes of a file of JSON lines. A class is called as it is written, a number by its own digits
    unless a list of names lies beside the file."""
    records = json_content(source.annotations)
    records = records if isinstance(records, list) else [records]
    names = dict(class_names([source.annotations.parent]))
    images: list[Any] = []
    annotations: list[Any] = []
    content = Content(images, annotations, [])
    for position, record in enumerate(records, start=1):
        place = f"record {position}"
        objects = _objects(record)
        if isinstance(objects, str):
            content.faults.append(("unusable record", f"{position} {objects}"))
            continue
        images.append({"id": place, "file_name": _of(record, _FILES), **_size(record)})
        for count, entry in enumerate(objects, start=1):
            label = _of(entry, _CLASSES)
            annotations.append({
                "id": f"{place}, object {count}",
                "image_id": place,
                "category_id": _called(label, names),
                "bbox": _of(entry, _BOXES),
                **{key: _of(entry, spellings) for key, spellings in _OTHERS.items()},
            })  # fmt: skip
    found = sorted({entry["category_id"] for entry in annotations if entry["category_id"]}, key=_in_order)
    content.categories = [{"id": name, "name": name} for name in dict.fromkeys((*names.values(), *found))]
    return content


def is_object_line(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(_of(record, _FILES), str) and _inside(record) is not None


def _objects(record: Any) -> list[dict[str, Any]] | str:
    """The objects of an image, each with its own values, or what is wrong with the record."""
    if not isinstance(record, dict) or not isinstance(_of(record, _FILES), str):
        return "names no image (file_name)"
    inside = _inside(record)
    if inside is None:
        return "has no objects (an image without any has an empty list)"
    if isinstance(inside, list):
        good = all(isinstance(entry, dict) for entry in inside)
        return inside if good else "has objects that are no mappings"
    columns = {key: values for key, values in inside.items() if isinstance(values, list)}
    lengths = {key: len(columns.get(key, ())) for key in (_key(inside, _BOXES), _key(inside, _CLASSES)) if key}
    if len(set(lengths.values())) > 1:
        return f"has {' and '.join(f'{size} in {key}' for key, size in lengths.items())}"
    size = next(iter(lengths.values()), 0)
    whole = {key: values for key, values in columns.items() if len(values) == size}
    return [{key: values[place] for key, values in whole.items()} for place in range(size)]


def _inside(record: dict[str, Any]) -> Any:
    """The objects of a record: a mapping of columns or a list, perhaps without a name of their own."""
    inside = record.get("objects", record.get("annotations"))
    if isinstance(inside, dict | list):
        return inside
    return record if "objects" not in record and _key(record, _BOXES) else None


def _key(entry: dict[str, Any], spellings: tuple[str, ...]) -> str:
    return next((key for key in spellings if key in entry), "")


def _of(entry: dict[str, Any], spellings: tuple[str, ...]) -> Any:
    return entry.get(_key(entry, spellings))


def _size(record: dict[str, Any]) -> dict[str, Any]:
    return {side: record[side] for side in ("width", "height") if record.get("width") and record.get("height")}


def _called(label: Any, names: dict[int, str]) -> Any:
    """The name of a class; None for what is no class."""
    value = as_number(label) if not isinstance(label, str) else None
    if value is not None and value.is_integer():
        return names.get(int(value), str(int(value)))
    return label.strip() if isinstance(label, str) else None


def _in_order(name: str) -> tuple[bool, int, str]:
    """Numbers by their size, then other names."""
    return not name.isdigit(), int(name) if name.isdigit() else 0, name
