"""COCO JSON: images, boxes and classes, checked entry by entry. Imports no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.image_folders import existing, headers, image_name, unreadable, with_nearest
from trainer.errors import DataError, listed

_TURNED = (
    " (images are used as viewers show them: if the boxes lie on the picture as shown, exchange the entry's width and "
    "height; if they lie on the stored pixels, remove the orientation from the file's EXIF)"
)
SKIP_HINT = "data.bad_samples=skip leaves them out"
Named = tuple[str, tuple[int, int]]  # an image's file name, its width and height
Box = tuple[Any, tuple[float, ...], bool, float]  # category id, xywh, crowd, area


@dataclass(frozen=True)
class Objects:
    """The annotations of one image, in pixels of the file. Crowds are regions that mAP ignores.

    boxes: xywh [n, 4], clipped at the border; labels: [n], contiguous from 0; crowd: [n]; areas: [n].
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class CocoFile:
    """The usable part of one file: image names, their (width, height), their boxes."""

    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    boxes: tuple[tuple[Box, ...], ...]
    categories: Mapping[Any, str]


@dataclass
class Faults:
    """All unusable entries by kind, to be reported together or counted."""

    entries: dict[tuple[Path, str], list[str]] = field(default_factory=dict)

    def add(self, where: Path, noun: str, what: str) -> None:
        self.entries.setdefault((where, noun), []).append(what)

    def __len__(self) -> int:
        return sum(len(items) for items in self.entries.values())

    def message(self) -> str:
        return f"{chr(10).join(self.lines())}; {SKIP_HINT}"

    def lines(self) -> list[str]:
        return [f"{where}: {listed(items, noun)}" for (where, noun), items in self.entries.items()]


def named_images(path: Path) -> Sequence[str]:
    """The images that a file names, usable or not."""
    named = [entry.get("file_name") for entry in _parsed(path)["images"] if isinstance(entry, dict)]
    return [name for name in named if isinstance(name, str)]


def read_coco(path: Path, images_dir: Path, stamp: str, skip: bool, faults: Faults) -> CocoFile:
    """Reads one file; unusable entries go to `faults`. With `skip` every image is also decoded once."""
    content = _parsed(path)
    categories = _categories(content["categories"], path)
    images = _images(content["images"], path, faults)
    images = _existing(images, images_dir, stamp, skip, faults)
    boxes: dict[Any, list[Box]] = {number: [] for number in images}
    known = {entry.get("id") for entry in content["images"] if isinstance(entry, dict)}
    for position, entry in enumerate(content["annotations"]):
        what, box = _box(entry, images, known, categories)
        if what:
            faults.add(path, "unusable annotation", f"{_number_of(entry, position)} {what}")
        elif box is not None:
            boxes[entry["image_id"]].append(box)
    return CocoFile(
        tuple(name for name, _ in images.values()),
        tuple(size for _, size in images.values()),
        tuple(tuple(boxes[number]) for number in images),
        categories,
    )


def _parsed(path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:  # also of the text's encoding
        raise DataError(f"{path}: not readable as JSON ({error})") from None
    wanted = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in wanted):
        raise DataError(f"{path}: expected COCO JSON, an object with the lists {', '.join(wanted)}")
    return content


def _categories(entries: Sequence[Any], path: Path) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for position, entry in enumerate(entries):
        good = isinstance(entry, dict) and _is_id(entry.get("id")) and isinstance(entry.get("name"), str)
        if not good or not entry["name"].strip():
            raise DataError(f"{path}: the category at position {position} needs an id and a name")
        if entry["id"] in names or entry["name"] in names.values():
            raise DataError(f"{path}: category {entry['id']} ({entry['name']}) stands there twice")
        names[entry["id"]] = entry["name"]
    if not names:
        raise DataError(f"{path}: no category in it")
    return names


def _number_of(entry: Any, position: int) -> Any:
    """An entry's id, or its position where it has none."""
    return entry.get("id", f"at position {position}") if isinstance(entry, dict) else f"at {position}"


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _images(entries: Sequence[Any], path: Path, faults: Faults) -> dict[Any, Named]:
    """The usable images by their ids."""
    images: dict[Any, Named] = {}
    names: set[str] = set()
    for position, entry in enumerate(entries):
        what = _image_problem(entry, images, names)
        if what:
            faults.add(path, "unusable image", f"{_number_of(entry, position)} {what}")
        else:
            names.add(entry["file_name"])
            images[entry["id"]] = entry["file_name"], (int(entry["width"]), int(entry["height"]))
    return images


def _image_problem(entry: Any, images: Mapping[Any, Any], names: set[str]) -> str:
    if not isinstance(entry, dict) or not _is_id(entry.get("id")):
        return "has no id"
    if not isinstance(entry.get("file_name"), str) or not entry["file_name"].strip():
        return "has no file_name"
    if not all(_is_number(entry.get(side)) and entry[side] >= 1 for side in ("width", "height")):
        return f"({entry['file_name']}) has no width and height"
    if entry["id"] in images:
        return f"({entry['file_name']}) has the id of another"
    return f"({entry['file_name']}) names the file of another" if entry["file_name"] in names else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _existing(images: Mapping[Any, Named], folder: Path, stamp: str, skip: bool, faults: Faults) -> dict[Any, Named]:
    """The images whose files exist and have the annotated size as a person sees them (or boxes would be misplaced)."""
    named = {number: (image_name(name, folder), size) for number, (name, size) in images.items()}
    names, missing = existing([name for name, _ in named.values()], folder)
    for name in missing if skip else with_nearest(missing, folder):
        faults.add(folder, "missing image", name)
    bad = unreadable(names, folder, stamp) if skip else frozenset[str]()
    true = dict(zip(names, headers([folder / name for name in names]), strict=True))
    kept, advice = {}, _TURNED
    for number, (name, size) in named.items():
        if name not in true:
            continue
        seen = true[name][:2]
        if name in bad:
            faults.add(folder, "unreadable image", name)
        elif seen in (size, (0, 0)):  # one without a header is reported when it is decoded
            kept[number] = (name, size)
        else:
            what = f"{name} has {seen[0]}×{seen[1]} pixels where its entry says {size[0]}×{size[1]}"
            if true[name].sideways and seen == size[::-1]:
                what, advice = f"{what}, its size before EXIF turns it{advice}", ""
            faults.add(folder, "mis-sized image", what)
    return kept


def _box(
    entry: Any, images: Mapping[Any, Named], known: set[Any], categories: Mapping[Any, str]
) -> tuple[str, Box | None]:
    """A mistake in an annotation, or its clipped box; neither where its image was left out."""
    if not isinstance(entry, dict) or not _is_id(entry.get("image_id")) or entry["image_id"] not in known:
        return "belongs to no image", None
    if entry["image_id"] not in images:
        return "", None
    name, (width, height) = images[entry["image_id"]]
    of = f"of image {entry['image_id']} ({name})"
    if not _is_id(entry.get("category_id")) or entry["category_id"] not in categories:
        return f"{of} has no known category", None
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        return f"{of} has no bbox of four numbers", None
    left, top = max(0.0, float(box[0])), max(0.0, float(box[1]))
    right, bottom = min(float(width), box[0] + float(box[2])), min(float(height), box[1] + float(box[3]))
    if right <= left or bottom <= top:
        return f"{of} has no area inside the image: {box}", None
    area: Any = entry.get("area")
    size = float(area) if _is_number(area) and area > 0 else (right - left) * (bottom - top)
    return "", (entry["category_id"], (left, top, right - left, bottom - top), bool(entry.get("iscrowd", 0)), size)
