"""Labelled images in folders or CSV files, with all mistakes in them. Imports no torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.data.datasets_folder import recognised, unpacked
from trainer.data.image_folders import (
    OTHER_SUFFIXES,
    SUFFIXES,
    existing,
    files_below,
    unreadable,
    with_nearest,
)
from trainer.data.split_names import TEST, TRAIN, VALIDATION, side_of
from trainer.errors import DataError, counted, listed
from trainer.tasks.classification.label_files import Entry, entries_of, sides_of

_SKIP_HINT = "data.bad_samples=skip leaves them out"
Labels = tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A source of images: folders of classes, or a file of labels with the names of images in a folder.

    `key` names it; `side` is that of the split that is read, all of it where it is empty.
    """

    key: str
    images_dir: Path
    labels_file: Path | None
    side: str = ""


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


def split_folders(images_dir: Path) -> tuple[Path | None, Path | None, Sequence[Path]]:
    """The training, the validation and the test folders inside, where the folder holds only such ones.

    Upper and lower case are equal. `DataError` where there are folders of such names and it is unclear which is which:
    classes are not called train and val.
    """
    if not images_dir.is_dir():
        return None, None, ()
    folders = sorted(path for path in images_dir.iterdir() if path.is_dir() and not path.name.startswith("."))
    sides = {side: [path for path in folders if side_of(path.name) == side] for side in (TRAIN, VALIDATION, TEST)}
    train, held, test = sides.values()
    if len([*train, *held, *test]) < 2 or not (train or held):
        return None, None, ()
    if len(train) == 1 and len(held) <= 1 and len([*train, *held, *test]) == len(folders):
        return train[0], held[0] if held else None, test
    named = listed([path.name for path in folders], "folder")
    advice = f"name them: data.images_dir={images_dir}/TRAIN data.val_images_dir={images_dir}/VAL"
    raise DataError(f"{images_dir}: {named}; which hold the images to train and to validate on? {advice}")


def split_sources(key: str, images_dir: Path, labels_file: Path) -> tuple[Source, ...]:
    """The source in a file of labels; two where its own split says what is validated on."""
    sides = sides_of(labels_file, images_dir) if labels_file.is_file() else frozenset()
    if not sides & {TRAIN, VALIDATION, TEST}:
        return (Source(key, images_dir, labels_file),)
    if TRAIN not in sides:
        raise DataError(f"{labels_file}: its split names no image to train on, only {', '.join(sorted(sides))}")
    used = [side for side in (TRAIN, VALIDATION) if side in sides]
    return tuple(Source(key, images_dir, labels_file, side) for side in used)


def labelled_tables(folder: Path) -> tuple[Source, ...]:
    """The source, or the two, in a folder of the `datasets` library."""
    found = unpacked(folder)
    if found.labels is None:
        raise DataError(f"{folder}: its tables have {found.words}, but no label; data.labels_file can name some")
    return split_sources("data.images_dir", found.images_dir, found.labels)


def aside(images_dir: Path | None, labels_file: Path | None) -> list[str]:
    """A warning on what is kept for a test, in folders or in the split of a file; nothing where there is none."""
    if labels_file is None and images_dir is not None and recognised(images_dir):
        test = unpacked(images_dir).left_out
        kept = [f"{counted(test, 'image')} of the split test"] if test else []
    elif labels_file is not None and images_dir is not None:
        test = sum(entry.side == TEST for entry in entries_of(labels_file, images_dir) if not entry.problem)
        kept = [f"{counted(test, 'image')} of the split test"] if test else []
    else:
        kept = [f"the folder {path.name}" for path in split_folders(images_dir)[2]] if images_dir is not None else []
    return [f"{' and '.join(kept)} left out: neither trained nor validated on"] if kept else []


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


def named_images(labels_file: Path, images_dir: Path) -> Iterator[str]:
    """The images that a file of labels names, usable or not."""
    return (entry.image for entry in entries_of(labels_file, images_dir) if entry.image)


def _in_table(source: Source, labels_file: Path, reading: Reading) -> LabelledImages:
    wrong: list[str] = []
    labels: dict[str, Labels] = {}
    for entry in entries_of(labels_file, source.images_dir):
        if source.side and (TRAIN if entry.problem else entry.side) != source.side:
            continue
        problem = entry.problem or _problem(entry, labels, reading)
        if problem:
            wrong.append(f"{entry.where}: {problem}")
            continue
        names = [name for name in map(str.strip, _parts(entry, reading)) if name]
        labels[entry.image] = tuple(dict.fromkeys((*labels.get(entry.image, ()), *names)))
    if wrong and not reading.skip:
        noun = wrong[0].split()[0]  # a row or an entry
        raise DataError(f"{labels_file}: {listed(wrong, f'unusable {noun}')}; {_SKIP_HINT}")
    names, missing = existing(labels, source.images_dir)
    if missing and not reading.skip:
        near = with_nearest(missing, source.images_dir)
        raise DataError(f"{source.images_dir}: {listed(near, 'missing image')} of {labels_file}; {_SKIP_HINT}")
    return LabelledImages({name: labels[name] for name in names}, len(wrong) + len(missing))


def _parts(entry: Entry, reading: Reading) -> Sequence[str]:
    """The labels of an entry, which in a text are separated where there may be several."""
    if not isinstance(entry.label, str):
        return entry.label
    return entry.label.split(reading.separator) if reading.separator else [entry.label]


def _problem(entry: Entry, labels: Mapping[str, Labels], reading: Reading) -> str:
    if reading.separator:
        return ""
    name, given = entry.image, _parts(entry, reading)
    if not any(given):
        return f"no label of {name}"
    several = "several labels need criterion.type=bce_with_logits"
    if len(given) > 1:
        return f"{name} is {', '.join(given)}; {several}"
    before = labels.get(name, ())
    return f"{name} is {given[0]}, but {before[0]} before; {several}" if before and before != (given[0],) else ""


def classes_of(sides: Sequence[LabelledImages]) -> tuple[str, ...]:
    """All labels in the order of their names; whole numbers in the order of their values."""
    names = {label for side in sides for labels in side.labels.values() for label in labels}
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name) if numbers else (0, name)))
