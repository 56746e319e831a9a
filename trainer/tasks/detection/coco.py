"""Images, boxes and classes as in COCO JSON, checked entry by entry, whatever the format. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.image_folders import existing, headers, image_name, unreadable, with_nearest
from trainer.errors import DataError, counted, listed
from trainer.store.json_files import json_content
from trainer.tasks.detection.content import Content, Ids, Marked, Source, as_number, box_around, four, is_crowd
from trainer.tasks.detection.conventions import Convention, contradiction, corners, disagreement, misplaced

_TURNED = (
    " (images are used as viewers show them: if the boxes lie on the picture as shown, exchange the entry's width and "
    "height; if they lie on the stored pixels, remove the orientation from the file's EXIF)"
)
_OUTLINES = 1000  # so many annotations are compared with their polygons
SKIP_HINT = "data.bad_samples=skip leaves them out"
LISTS = ("images", "annotations", "categories")
_KEPT = "its format has boxes as {}; leave data.box_format and data.box_units out"
Named = tuple[str, tuple[int, int]]  # an image's file name, its width and height
Box = tuple[Any, Sequence[float], bool, float]  # category id, xywh, crowd, area


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
    """The usable part of one source: image names, their (width, height), their boxes.

    `categories` are names by id, `used` the ids of usable annotations, `parents` the names of groups of categories.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    boxes: tuple[tuple[Box, ...], ...]
    categories: Mapping[Any, str]
    used: frozenset[Any]
    parents: frozenset[str]
    notes: tuple[str, ...]


@dataclass
class Faults:
    """All unusable entries by kind, to be reported together or counted; and what cannot be left out."""

    entries: dict[tuple[Path, str], list[str]] = field(default_factory=dict)
    fatal: list[str] = field(default_factory=list)

    def add(self, where: Path, noun: str, what: str) -> None:
        self.entries.setdefault((where, noun), []).append(what)

    def __len__(self) -> int:
        return sum(len(items) for items in self.entries.values())

    def message(self) -> str:
        lines = self.lines()
        return "\n".join([*self.fatal, *([f"{chr(10).join(lines)}; {SKIP_HINT}"] if lines else [])])

    def lines(self) -> list[str]:
        return [f"{where}: {listed(items, noun)}" for (where, noun), items in self.entries.items()]


def named_images(path: Path) -> Sequence[str]:
    """The images that a file of COCO JSON names, usable or not."""
    named = [entry.get("file_name") for entry in coco_content(path).images if isinstance(entry, dict)]
    return [name for name in named if isinstance(name, str)]


def coco_content(path: Path) -> Content:
    """The lists of a file of COCO JSON; `DataError` where it is none."""
    content = json_content(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in LISTS):
        raise DataError(f"{path}: expected COCO JSON, an object with the lists {', '.join(LISTS)}")
    images, annotations, categories = (content[name] for name in LISTS)
    return Content(images, annotations, categories, sizes_given=True)


def checked(content: Content, source: Source, stamp: str, said: Convention, skip: bool, faults: Faults) -> CocoFile:
    """The usable part of a source; what is not goes to `faults`. With `skip` every image is also decoded once.

    `said` is the configuration's convention of boxes, which holds where the format has none of its own.
    """
    where = source.annotations
    for noun, what in content.faults:
        faults.add(where, noun, what)
    if content.convention and said not in (Convention(), content.convention):
        faults.fatal.append(f"{where}: {_KEPT.format(content.convention.words)}")
    category_ids, image_ids = Ids(content.categories), Ids(content.images)
    categories = _categories(content, category_ids, where)
    images = _images(content, image_ids, where, faults)
    if not content.sizes_given:
        images = _sized(images, source.images_dir, faults)
    images = _existing(images, source.images_dir, stamp, skip, faults)
    marked: list[Marked] = []
    for position, entry in enumerate(content.annotations):
        found = _marked(entry, position, images, image_ids, category_ids)
        if isinstance(found, str):
            faults.add(where, "unusable annotation", found)
        elif found is not None:
            marked.append(found)
    boxes: dict[Any, list[Box]] = {value: [] for value in images}
    for one, box in _placed(marked, images, content.convention, said, where, faults):
        boxes[one.image].append((one.category, box, one.crowd, one.area or box[2] * box[3]))
    repeated = len(marked) - len({(one.image, one.category, *one.numbers) for one in marked})
    told = [f"{where}: {counted(repeated, 'box')} repeated in the same image and class"] if repeated else []
    groups = (entry for entry in content.categories if entry.get("supercategory") != entry["name"])
    return CocoFile(
        tuple(name for name, _ in images.values()),
        tuple(size for _, size in images.values()),
        tuple(tuple(boxes[value]) for value in images),
        categories,
        frozenset(one.category for one in marked),
        frozenset(str(entry.get("supercategory")) for entry in groups),
        (*source.notes, *content.notes, *told),
    )


def _categories(content: Content, ids: Ids, path: Path) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for position, entry in enumerate(content.categories):
        value = ids.find(entry.get("id")) if isinstance(entry, dict) else None
        if value is None or not isinstance(entry.get("name"), str) or not entry["name"].strip():
            raise DataError(f"{path}: the category at position {position} needs an id and a name")
        if names.setdefault(value, entry["name"]) != entry["name"]:
            raise DataError(f"{path}: category {value} is {entry['name']}, but {names[value]} before")
    if not names and content.sizes_given:
        used = [
            entry["category_id"] for entry in content.annotations if isinstance(entry, dict) and "category_id" in entry
        ]
        wanted = f'; its boxes need {{"id": {used[0]!r}, "name": …}}' if used else ""
        raise DataError(f"{path}: no category in it{wanted}")
    return names


def _number_of(entry: Any, position: int) -> Any:
    """An entry's id, or its position where it has none."""
    return entry.get("id", f"at position {position}") if isinstance(entry, dict) else f"at {position}"


def _images(content: Content, ids: Ids, path: Path, faults: Faults) -> dict[Any, Named]:
    """The usable images by their ids; of size 0 × 0 where only their files say it."""
    images: dict[Any, Named] = {}
    names: set[str] = set()
    for position, entry in enumerate(content.images):
        value = ids.find(entry.get("id")) if isinstance(entry, dict) else None
        what = _image_problem(entry, value, content.sizes_given, images, names)
        if what:
            faults.add(path, "unusable image", f"{_number_of(entry, position)} {what}")
        else:
            width, height = (int(as_number(entry.get(side, 0)) or 0) for side in ("width", "height"))
            names.add(entry["file_name"])
            images[value] = entry["file_name"], (width, height)
    return images


def _image_problem(entry: Any, value: Any, sized: bool, images: Mapping[Any, Any], names: set[str]) -> str:
    if value is None:
        return "has no id"
    if not isinstance(entry.get("file_name"), str) or not entry["file_name"].strip():
        return "has no file_name"
    sides = [side for side in ("width", "height") if sized or side in entry]
    if any((as_number(entry.get(side)) or 0) < 1 for side in sides):
        return f"({entry['file_name']}) has no width and height"
    if value in images:
        return f"({entry['file_name']}) has the id of another"
    return f"({entry['file_name']}) names the file of another" if entry["file_name"] in names else ""


def _sized(images: Mapping[Any, Named], folder: Path, faults: Faults) -> dict[Any, Named]:
    """The images with the sizes of their files where no other is known; without those that have none."""
    here = [name for name, _ in images.values() if (folder / name).is_file()]
    true = {name: header[:2] for name, header in zip(here, headers([folder / name for name in here]), strict=True)}
    kept = {}
    for value, (name, size) in images.items():
        found = size if size != (0, 0) else true.get(name, (1, 1))  # a missing one is reported as such
        if found == (0, 0):
            faults.add(folder, "unreadable image", name)
        else:
            kept[value] = (name, found)
    return kept


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


def _marked(
    entry: Any, position: int, images: Mapping[Any, Named], image_ids: Ids, category_ids: Ids
) -> Marked | str | None:
    """An annotation, or what is wrong with it; None where its image was left out."""
    name = _number_of(entry, position)
    image = image_ids.find(entry.get("image_id")) if isinstance(entry, dict) else None
    if image is None:
        return f"{name} belongs to no image"
    if image not in images:
        return None
    category = category_ids.find(entry.get("category_id"))
    if category is None:
        return f"{name} {_of(image, images)} has no known category: {entry.get('category_id')!r}"
    given = entry.get("bbox")
    numbers = four(given)
    if numbers is None and not given and entry.get("segmentation"):
        numbers = box_around(entry["segmentation"])
        if numbers is None:
            return f"{name} {_of(image, images)} has no bbox, and a mask that is no polygon"
    if numbers is None:
        return f"{name} {_of(image, images)} has no bbox of four numbers: {str(given)[:60]}"
    crowd = is_crowd(entry.get("iscrowd"))
    if crowd is None:
        return f"{name} {_of(image, images)} has an iscrowd that is neither 0 nor 1: {entry['iscrowd']!r}"
    area = as_number(entry.get("area"))
    outline = box_around(entry.get("segmentation")) if given and position < _OUTLINES else None
    return Marked(name, image, category, numbers, not given, crowd, area if area and area > 0 else None, outline)


def _of(image: Any, images: Mapping[Any, Named]) -> str:
    name, _ = images[image]
    return f"of image {name}" if image == name else f"of image {image} ({name})"


def _placed(
    marked: Sequence[Marked],
    images: Mapping[Any, Named],
    own: Convention | None,
    said: Convention,
    where: Path,
    faults: Faults,
) -> Iterator[tuple[Marked, Sequence[float]]]:
    """The annotations with their boxes as xywh in pixels, clipped where rounding made them stick out."""
    numbers = np.array([one.numbers for one in marked], dtype=np.float64).reshape(-1, 4)
    inside = np.array([images[one.image][1] for one in marked], dtype=np.float64).reshape(-1, 2)
    boxes = ~np.array([one.from_mask for one in marked], dtype=np.bool_)
    against = contradiction(numbers[boxes], inside[boxes], own or said, own is not None)
    if own is None and not against:
        outlines = [one.outline or [math.nan] * 4 for one in marked]
        areas = [math.nan if one.area is None else one.area for one in marked]
        against = disagreement(
            numbers[boxes], inside[boxes], np.array(outlines).reshape(-1, 4)[boxes], np.array(areas)[boxes], said
        )
    if against:
        faults.fatal.append(f"{where}: {against}")
        return
    places = np.where(boxes[:, None], corners(numbers, inside, own or said), numbers)
    clipped = np.concatenate([np.maximum(places[:, :2], 0.0), np.minimum(places[:, 2:], inside)], axis=1)
    clipped[:, 2:] -= clipped[:, :2]
    empty = np.any(clipped[:, 2:] <= 0, axis=1)
    lost = np.logical_or(empty, misplaced(places, inside))
    for one, box, flat, wrong in zip(marked, clipped.tolist(), empty.tolist(), lost.tolist(), strict=True):
        if not wrong:
            yield one, box
            continue
        width, height = images[one.image][1]
        what = "has no area inside the image" if flat else f"sticks out of the image's {width}×{height} pixels"
        shown = ", ".join(f"{value:g}" for value in one.numbers)
        faults.add(where, "unusable annotation", f"{one.name} {_of(one.image, images)} {what}: [{shown}]")
