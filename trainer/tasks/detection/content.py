"""What every format of annotations is read into, and where it was found. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trainer.tasks.detection.conventions import Convention

_PLAIN, _LARGEST = frozenset({int, float}), 1e100
_CROWD = {"": False, "0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


@dataclass(frozen=True)
class Source:
    """Annotations in one format with their folder of images, and the key that named them.

    `annotations` is a file, or the folder of one file for each image. `pairs` are then the images, each with the name
    of its file of annotations; an empty name stands for none. `classes` are numbers with names where they do not stand
    in `annotations`. `origin` is the file that named them, where it is another; `notes` are warnings.
    """

    key: str
    kind: str
    annotations: Path
    images_dir: Path
    pairs: tuple[tuple[str, str], ...] = ()
    classes: tuple[tuple[int, str], ...] = ()
    values: int = 0
    origin: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass
class Content:
    """The lists of COCO JSON, whatever the format. An image without width and height has those of its file.

    `convention` is that of the format; None where the configuration says it. `faults`: a noun, and what is wrong.
    """

    images: Sequence[Any]
    annotations: Sequence[Any]
    categories: Sequence[Any]
    convention: Convention | None = None
    sizes_given: bool = False
    faults: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Ids:
    """The ids of a list. 7, 7.0 and "7" are one id, unless the list itself has both 7 and "7"."""

    def __init__(self, entries: Iterable[Any]) -> None:
        given = [entry["id"] for entry in entries if isinstance(entry, dict) and is_id(entry.get("id"))]
        numbers = {int(value) for value in given if not isinstance(value, str)}
        self._known: dict[Any, Any] = dict.fromkeys(numbers)
        for value in given:
            other = _otherwise(value) if isinstance(value, str) else int(value)
            self._known[value] = other if value not in numbers and other not in numbers else value
        self._known |= {value: value for value in numbers}

    def find(self, value: Any) -> Any:
        """The id in the list that a value means; None where there is none."""
        if type(value) is not int and not is_id(value):
            return None
        found = self._known.get(value)
        return found if found is not None else self._known.get(_otherwise(value))


def is_id(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int | str) and not isinstance(value, bool)


def _otherwise(value: Any) -> Any:
    """An id in its other spelling: as text, or as a number; unchanged where it has none."""
    if not isinstance(value, str):
        return str(int(value))
    text = value.strip()
    return int(text) if text.isascii() and text.isdigit() and (text == "0" or text[0] != "0") else value


def as_number(value: Any) -> float | None:
    """A finite number, also one that was written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def four(box: Any) -> Sequence[float] | None:
    """The four numbers of a box; None where it has others."""
    if not isinstance(box, list) or len(box) != 4:
        return None
    if _PLAIN.issuperset(map(type, box)) and abs(box[0]) + abs(box[1]) + abs(box[2]) + abs(box[3]) < _LARGEST:
        return box
    numbers = [as_number(value) for value in box]
    return None if None in numbers else numbers  # type: ignore[return-value]  # none of them is None


def is_crowd(value: Any) -> bool | None:
    """What `iscrowd` says, however it is written; None for anything else."""
    if value is None or value is False:
        return False
    return _CROWD.get(str(value).strip().lower())


class Marked(NamedTuple):
    """An annotation as it is written. `numbers` are four in the file's convention, or, of a mask, xyxy in pixels.

    `outline` is the xyxy box around its polygons, of some annotations with both.
    """

    name: str
    image: Any
    category: Any
    numbers: Sequence[float]
    from_mask: bool
    crowd: bool
    area: float | None
    outline: Sequence[float] | None = None


def box_around(mask: Any) -> Sequence[float] | None:
    """The xyxy box around polygons, each a list x, y, x, y, …; None for any other mask."""
    rings = mask if isinstance(mask, list) and all(isinstance(ring, list) for ring in mask) else []
    values = [[number for value in ring if (number := as_number(value)) is not None] for ring in rings]
    wrong = (len(ring) < 6 or len(ring) % 2 or len(ring) < len(raw) for ring, raw in zip(values, rings, strict=True))
    if not values or any(wrong):
        return None
    xs, ys = ([value for ring in values for value in ring[start::2]] for start in (0, 1))
    return [min(xs), min(ys), max(xs), max(ys)]


def paired(images: Sequence[str], files: Sequence[str]) -> list[tuple[str, str]]:
    """Each image with the file of its name, empty where there is none. Names are relative to folders of their own.

    The files may lie one folder less deep than the images, or all in one, where that makes no two images share a file.
    """
    named = {_bare(name): name for name in files}
    best = [(image, named.get(_bare(image), "")) for image in images]
    if all(file for _, file in best):
        return best
    last = {_stem(name): name for name in files}
    for table, way in ((named, _one_less_deep), (last, _stem)):
        pairs = [(image, table.get(way(image), "")) for image in images]
        found = [file for _, file in pairs if file]
        if len(set(found)) == len(found) > sum(bool(file) for _, file in best):
            best = pairs
    return best


def _one_less_deep(name: str) -> str:
    return _bare(name.partition("/")[2] or name)


def _stem(name: str) -> str:
    return _bare(name.rpartition("/")[2])


def _bare(name: str) -> str:
    """A relative name without its suffix."""
    folder, slash, last = name.rpartition("/")
    stem, _, _ = last.rpartition(".")
    return f"{folder}{slash}{stem or last}"
