"""YOLO labels: a text file for each image, a line for each box, numbers as parts of the image. Imports no torch.

A line is a class number with centre, width and height, or with the corners of a polygon. A YAML file may name the
classes and the images to train and to validate on. Source: the documentation of Ultralytics' detection data sets.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from trainer.config.yaml import read_yaml
from trainer.data.image_folders import SUFFIXES, files_below
from trainer.errors import ConfigError, DataError, counted, listed
from trainer.tasks.detection.content import Content, Source, as_number
from trainer.tasks.detection.conventions import Convention

LABELS = "YOLO labels"
OWN = Convention("cxcywh", "fraction")
_NAMES = ("classes.txt", "obj.names", "names.txt", "_darknet.labels")
_CLASSES = re.compile(rb"^(names|nc)\s*:", re.MULTILINE)
_SIDES = {"train": ("train",), "val": ("val", "valid", "validation")}
_BOX, _LEAST_POLYGON = 5, 7  # values in a line
_LOOKED_AT = 20  # files that tell what a folder holds
_ROUNDING = 0.01  # parts of an image may be so far outside of 0 to 1


def read_yolo(source: Source) -> Content:
    """The boxes of all label files of a source; polygons become the boxes around them."""
    annotations: list[dict[str, Any]] = []
    images = [{"id": image, "file_name": image} for image, _ in source.pairs]
    content = Content(images, annotations, [{"id": place, "name": name} for place, name in source.classes], OWN)
    confident = 0
    for image, label in source.pairs:
        for place, line in _lines(source.annotations, label, content) if label else ():
            parts = line.split()
            confident += len(parts) == _BOX + 1 and len(parts) != source.values
            box = _box(parts, source.values)
            if isinstance(box, str):
                content.faults.append(("unusable line", f"{place}: {box}"))
            else:
                annotations.append({"id": place, "image_id": image, "category_id": int(box[0]), "bbox": box[1:]})
    if confident:
        content.notes.append(
            f"{counted(confident, 'line')} of labels with a sixth value, as predictions have their confidence: ignored"
        )
    if not source.classes:
        numbers = sorted({entry["category_id"] for entry in annotations})
        content.categories = [{"id": value, "name": str(value)} for value in numbers]
        content.notes.append(f"no {_NAMES[0]} beside the labels: classes are called by number")
    return content


def _lines(folder: Path, label: str, content: Content) -> Iterator[tuple[str, str]]:
    """The lines of a file that are not empty, each with its place."""
    try:
        with open(os.path.join(folder, label), "rb") as file:  # noqa: PTH118, PTH123 - thousands of files
            text = file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        content.faults.append(("unreadable label file", f"{label} ({what})"))
        return
    for row, line in enumerate(text.splitlines(), start=1):
        if line and not line.isspace():
            yield f"{label}, line {row}", line


def _box(parts: Sequence[str], with_keypoints: int) -> list[float] | str:
    """Class, centre, width and height of a line, or what is wrong with it."""
    try:
        values = list(map(float, parts))
    except ValueError:
        return f"not only numbers: {' '.join(parts)[:60]}"
    several = len(values)
    if several == with_keypoints or several == _BOX + 1:
        values, several = values[:_BOX], _BOX
    if several != _BOX and (several < _LEAST_POLYGON or several % 2 == 0):
        return f"{counted(several, 'value')} instead of {_BOX} (class, centre, width, height) or a polygon's"
    if not values[0].is_integer() or values[0] < 0:
        return f"{parts[0]} is no class number"
    for value in values[1:]:
        if not -_ROUNDING <= value <= 1.0 + _ROUNDING:
            return f"{value:g} is no part of the image, which goes from 0 to 1"
    if several == _BOX:
        return values
    xs, ys = values[1::2], values[2::2]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return [values[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def is_yolo_yaml(path: Path) -> bool:
    """Whether a YAML file has the names or the number of classes at its top."""
    return _CLASSES.search(path.read_bytes()) is not None


def lists_images(path: Path) -> bool:
    """Whether the first line of a text file that is not empty is the path of an image."""
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    return Path(first.decode("utf-8", "replace").strip()).suffix.lower() in SUFFIXES


def are_labels(folder: Path, names: Iterable[str]) -> bool:
    """Whether one of the first text files that are not empty has a line of labels: captions are text, too."""
    lines = (next(_lines(folder, name, Content([], [], [])), None) for name in names)
    for _, line in itertools.islice(filter(None, lines), _LOOKED_AT):
        parts = line.split()
        if len(parts) >= _BOX and all(as_number(part) is not None for part in parts):
            return True
    return False


def label_files(names: Iterable[str]) -> list[str]:
    """Those of some text files that may be labels."""
    return [name for name in names if name.rpartition("/")[2] not in _NAMES]


def class_names(folders: Iterable[Path]) -> tuple[tuple[int, str], ...]:
    """The names of classes from the first file in these folders that has them, one a line or in YAML; or nothing."""
    for folder in folders:
        for path in (folder / name for name in _NAMES):
            if path.is_file():
                lines = _text(path).rstrip().splitlines()
                return tuple((value, line.strip()) for value, line in enumerate(lines))
        for path in sorted(folder.glob("*.yaml")):
            if is_yolo_yaml(path):
                return _classes(_yaml(path), path)
    return ()


def from_yaml(path: Path, key: str, images_dir: Path | None, only: str | None) -> list[Source]:
    """The images to train and to validate on that a YAML file names, or `only` one of the two."""
    content = _yaml(path)
    entries = {
        side: next((content[name] for name in names if content.get(name)), None) for side, names in _SIDES.items()
    }
    if entries["train"] is None and only != "val":
        raise DataError(f"{path}: it names no images to train on (train: a folder, several, or a list of files)")
    if only is not None and entries[only] is None:
        raise DataError(f"{path}: it names no images for {key} ({only}: a folder, several, or a list of files)")
    classes, values = _classes(content, path), _values(content)
    # Wherever the file was written, `path` may be a folder of another machine.
    given = [path.parent / str(content["path"])] if content.get("path") else []
    bases = [*given, path.parent, *([images_dir, images_dir.parent] if images_dir else [])]
    sources = []
    for side, entry in entries.items():
        if entry is not None and only in (None, side):
            images = [
                image for one in (entry if isinstance(entry, list) else [entry]) for image in _images(one, path, bases)
            ]
            sources.append(_source(key, images, classes, values, path, side))
    return sources


def from_list(path: Path, key: str, images_dir: Path | None, places: Sequence[Path]) -> list[Source]:
    """The images that a text file lists, a path a line; the names of their classes lie in one of `places`."""
    bases = [*places, *([images_dir, images_dir.parent] if images_dir else [])]
    return [_source(key, _listed(path, bases), class_names(places), 0, path, "")]


def _yaml(path: Path) -> dict[Any, Any]:
    try:
        content = read_yaml(path)
    except ConfigError as error:
        raise DataError(str(error)) from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a mapping with names, train and val")
    return content


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None


def _values(content: Any) -> int:
    """The number of values in a line with keypoints; 0 where there are none."""
    shape = content.get("kpt_shape")
    good = isinstance(shape, list) and len(shape) == 2 and all(isinstance(size, int) for size in shape)
    return _BOX + shape[0] * shape[1] if good else 0


def _classes(content: Any, path: Path) -> tuple[tuple[int, str], ...]:
    names, count = content.get("names"), content.get("nc")
    if names is None and isinstance(count, int):
        return tuple((value, str(value)) for value in range(count))
    table = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(table, dict) or not table:
        raise DataError(f"{path}: names must be a list of the classes, or a mapping of numbers to names")
    classes = {}
    for value, name in table.items():
        if not str(value).isdigit() or isinstance(name, bool) or not isinstance(name, str | int | float):
            raise DataError(f"{path}: names: {value}: {name!r} is not a class number with its name (quotes make text)")
        classes[int(value)] = str(name).strip()
    if isinstance(count, int) and count != len(classes):
        raise DataError(f"{path}: nc is {count}, but there are {counted(len(classes), 'name')}")
    return tuple(sorted(classes.items()))


def _images(entry: Any, origin: Path, bases: Sequence[Path]) -> list[str]:
    """The paths of the images that an entry of a YAML file names."""
    written = str(entry)
    # Some programs write `../train/images` and mean the folder of the YAML file.
    tried = [base / name for base in bases for name in dict.fromkeys((written, written.removeprefix("../")))]
    for place in tried:
        if place.is_dir():
            return [str(place / name) for name in files_below(place, SUFFIXES)]
        if place.is_file():
            return _listed(place, [*bases, place.parent.parent])
    where = listed([str(place) for place in dict.fromkeys(tried)], "place")
    raise DataError(f"{origin}: no folder or list of images {written} ({where})")


def _listed(path: Path, bases: Iterable[Path]) -> list[str]:
    """The images of a text file, relative to the first folder in which its first one lies."""
    lines = [line.strip() for line in _text(path).splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path}: it lists no image")
    base = next((base for base in (path.parent, *bases) if (base / lines[0]).is_file()), path.parent)
    return [str(base / line) for line in dict.fromkeys(lines)]


def _source(
    key: str, images: Sequence[str], classes: tuple[tuple[int, str], ...], values: int, origin: Path, side: str
) -> Source:
    if not images:
        raise DataError(f"{origin}: no image in what it names{' for ' + side if side else ''}")
    images = [os.path.normpath(image) for image in images]
    labels = [_label_of(image) for image in images]
    folders = sorted({os.path.dirname(label) for label in labels})  # noqa: PTH120 - thousands of names
    there = {f"{folder}/{name}" for folder in folders if Path(folder).is_dir() for name in os.listdir(folder)}  # noqa: PTH208
    images_dir = os.path.commonpath([os.path.dirname(image) for image in images])  # noqa: PTH120
    labels_dir = os.path.commonpath(folders)
    cut, cut_label = len(images_dir.rstrip("/")) + 1, len(labels_dir.rstrip("/")) + 1
    pairs = tuple(
        (image[cut:], label[cut_label:] if label in there else "") for image, label in zip(images, labels, strict=True)
    )
    if not any(label for _, label in pairs):
        raise DataError(
            f"{labels_dir}: no file of labels for any of the {counted(len(pairs), 'image')} in {images_dir}"
        )
    return Source(key, "yolo", Path(labels_dir), Path(images_dir), pairs, classes, values, origin)


def _label_of(image: str) -> str:
    """The labels of an image lie in a folder `labels` beside its folder `images`, or beside the image."""
    head, images, tail = image.rpartition("/images/")
    return f"{os.path.splitext(f'{head}/labels/{tail}' if images else image)[0]}.txt"  # noqa: PTH122
