"""Labelled images in folders or CSV files, with all mistakes in them. Imports no torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.data.image_folders import OTHER_SUFFIXES, SUFFIXES, existing, files_below, image_name, unreadable
from trainer.errors import DataError, listed
from trainer.store.csv_tables import csv_rows, swallowed

HEADER = ("image", "label")
TRAIN, VALIDATION, TEST = ("train", "training"), ("val", "valid", "validation", "dev"), ("test", "testing")
_SIDES = (TRAIN, VALIDATION, TEST)
_SKIP_HINT = "data.bad_samples=skip leaves them out"
Labels = tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A source of images: folders of classes, or a CSV of names in a folder. `key` names it."""

    key: str
    images_dir: Path
    labels_file: Path | None


@dataclass(frozen=True)
class Reading:
    """How files are read. `separator` stands between several labels of an image; empty where there is one each."""

    separator: str
    skip: bool


@dataclass
class LabelledImages:
    """The images of a source by name, in the order in which they are used, and what was left out.

    `foreign`: images of kinds that are not read.
    """

    labels: dict[str, Labels] = field(default_factory=dict)
    left_out: int = 0
    foreign: Sequence[str] = ()


def split_folders(images_dir: Path) -> tuple[Path | None, Path | None]:
    """The training and the validation folder inside, where the folder holds only these and perhaps a test folder.

    Upper and lower case are equal. `DataError` where there are folders of such names and it is unclear which is which:
    classes are not called train and val.
    """
    if not images_dir.is_dir():
        return None, None
    folders = sorted(path for path in images_dir.iterdir() if path.is_dir() and not path.name.startswith("."))
    train, held, test = ([path for path in folders if path.name.lower() in names] for names in _SIDES)
    sides = [*train, *held, *test]
    if len(sides) < 2:
        return None, None
    if len(train) == 1 and len(held) <= 1 and len(sides) == len(folders):
        return train[0], held[0] if held else None
    named = listed([path.name for path in folders], "folder")
    advice = f"name them: data.images_dir={images_dir}/TRAIN data.val_images_dir={images_dir}/VAL"
    raise DataError(f"{images_dir}: {named}; which hold the images to train and to validate on? {advice}")


def read_source(source: Source, reading: Reading, stamp: str) -> LabelledImages:
    """The usable images of a source; `DataError` names what is wrong, unless it may be left out."""
    if source.labels_file is None:
        source_images = _in_folders(source, reading)
    else:
        source_images = _in_table(source, source.labels_file, reading)
    if reading.skip:
        bad = unreadable(list(source_images.labels), source.images_dir, stamp)
        kept = {name: labels for name, labels in source_images.labels.items() if name not in bad}
        source_images = LabelledImages(kept, source_images.left_out + len(bad), source_images.foreign)
    if not source_images.labels:
        place = source.labels_file or source.images_dir
        raise DataError(f"{place}: no usable image in it ({source_images.left_out} left out)")
    return source_images


def _in_folders(source: Source, reading: Reading) -> LabelledImages:
    """Images by their first folder; one of each class in turn, so that the first images cover all classes."""
    folder = source.images_dir
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        what = f"no folder in it; {source.key} needs one folder per class"
        raise DataError(f"{folder}: {what}, or a CSV with data.labels_file")
    by_class: dict[str, list[str]] = {name: [] for name in classes}
    strays = []
    for name in files_below(folder, SUFFIXES):
        first, slash, _ = name.partition("/")
        if slash:
            by_class[first].append(name)
        else:
            strays.append(name)
    empty = [name for name, images in by_class.items() if not images]
    if not reading.skip:
        mistakes = [listed(empty, "class folder") + " without an image"] if empty else []
        mistakes += [listed(strays, "image") + " in no class folder"] if strays else []
        if mistakes:
            raise DataError(f"{folder}: {'; '.join(mistakes)}; {_SKIP_HINT}")
    turns = itertools.zip_longest(*by_class.values())
    labels: dict[str, Labels] = {str(name): (str(name).split("/")[0],) for turn in turns for name in turn if name}
    return LabelledImages(labels, len(empty) + len(strays), files_below(folder, OTHER_SUFFIXES))


def named_images(labels_file: Path) -> Iterator[str]:
    """The images that a table names, usable or not."""
    return (image_name(cells[0]) for _, cells in csv_rows(labels_file, HEADER))


def _in_table(source: Source, labels_file: Path, reading: Reading) -> LabelledImages:
    wrong: list[str] = []
    labels: dict[str, Labels] = {}
    for row, cells in csv_rows(labels_file, HEADER):
        problem = _problem(cells, labels, reading)
        if problem:
            wrong.append(f"row {row}: {problem}")
            continue
        name, text = image_name(cells[0]), cells[1]
        split = text.split(reading.separator) if reading.separator else [text]
        names = [label.strip() for label in split if label.strip()]
        labels[name] = tuple(dict.fromkeys((*labels.get(name, ()), *names)))
    if wrong and not reading.skip:
        raise DataError(f"{labels_file}: {listed(wrong, 'unusable row')}; {_SKIP_HINT}")
    names, missing = existing(labels, source.images_dir)
    if missing and not reading.skip:
        raise DataError(f"{source.images_dir}: {listed(missing, 'missing image')} of {labels_file}; {_SKIP_HINT}")
    return LabelledImages({name: labels[name] for name in names}, len(wrong) + len(missing))


def _problem(cells: Sequence[str], labels: Mapping[str, Labels], reading: Reading) -> str:
    if torn := swallowed(cells):
        return torn
    if len(cells) != len(HEADER):
        return f"{len(cells)} cells instead of 2 (a label with commas needs quotes)"
    name, label = image_name(cells[0]), cells[1].strip()
    if not name:
        return "no image name"
    if reading.separator:
        return ""
    if not label:
        return f"no label of {name}"
    if name in labels and labels[name] != (label,):
        first = labels[name][0]
        return f"{name} is {label}, but {first} before; several labels need criterion.type=bce_with_logits"
    return ""


def classes_of(sides: Sequence[LabelledImages]) -> tuple[str, ...]:
    """All labels in the order of their names; whole numbers in the order of their values."""
    names = {label for side in sides for labels in side.labels.values() for label in labels}
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name) if numbers else (0, name)))
