"""Files of labels, in the forms in which people have them; which it is, their content says. Imports no torch.

Tables with commas, semicolons, tabs or bars, with or without a header; JSON lines, lists and mappings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from trainer.data.image_folders import SUFFIXES, image_name
from trainer.data.split_names import SIDES, side_of, split_column
from trainer.errors import DataError, counted, listed
from trainer.store.csv_tables import EXCEL_HINT, cells_by_line, swallowed
from trainer.store.image_cache import file_stamp
from trainer.store.json_files import json_content
from trainer.store.text import read_text

# Usual names of columns and keys, the surest first.
_IMAGES = (
    "image", "file name", "filename", "image path", "img path", "filepath", "filepaths", "file path", "image file",
    "image name", "img name", "img", "file", "path", "photo", "picture", "name", "images", "image id",
)  # fmt: skip
_LABELS = (
    "label", "labels", "class", "classes", "class name", "label name", "category", "category name", "categories",
    "target", "targets", "tag", "tags", "species", "breed", "class id", "label id", "y",
)  # fmt: skip
_DELIMITERS = ",;\t|"


class Entry(NamedTuple):
    """An image and its label, or a list of labels, as a file has them. `problem` says what is wrong, `side` is of the
    split, and empty where the file has none."""

    where: str
    image: str
    label: str | tuple[str, ...]
    side: str
    problem: str = ""


class _Columns(NamedTuple):
    """The names, or places, of columns; `split` is None where there is none."""

    image: Any
    label: Any
    split: Any


def entries_of(labels_file: Path, images_dir: Path) -> Sequence[Entry]:
    """All entries of a file, usable or not, with the names of files in a folder; `DataError` where it is damaged or has
    no known form."""
    return _entries(labels_file, images_dir, file_stamp(labels_file))


def sides_of(labels_file: Path, images_dir: Path) -> frozenset[str]:
    """The sides of the split that a file gives to its images; the empty one where it has no split."""
    return frozenset(entry.side for entry in entries_of(labels_file, images_dir) if not entry.problem)


@lru_cache(maxsize=4)
def _entries(labels_file: Path, images_dir: Path, _state: tuple[str, int, int]) -> tuple[Entry, ...]:
    content = json_content(labels_file)
    read = _of_table(labels_file) if content is None else _of_json(labels_file, content)
    return tuple(_consistent(entry._replace(image=image_name(entry.image, images_dir)) for entry in read))


def _consistent(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries, those with a problem where an image is on two sides of the split."""
    sides: dict[str, str] = {}
    for entry in entries:
        before = entry.side if entry.problem else sides.setdefault(entry.image, entry.side)
        if before != entry.side:
            entry = entry._replace(problem=f"{entry.image} is in {entry.side}, but in {before} before")
        yield entry


def _of_table(labels_file: Path) -> Iterator[Entry]:
    found = _header(labels_file)
    if found is None:
        head = next(_rows(labels_file, ","), (1, []))[1]
        first = ",".join(cell.strip() for cell in head)[:80] or "nothing"
        what = "the header must be image,label, or name both in another usual way (filename, class, …)"
        raise DataError(f"{labels_file}: {what}; found {first}")
    delimiter, names = found
    rows = _rows(labels_file, delimiter)
    width, columns = len(names), _Columns(0, 1, None)
    if names:
        next(rows)
        columns = _columns(names, labels_file, delimiter)
    for row, cells in rows:
        if torn := swallowed(cells):
            yield Entry(f"row {row}", "", "", "", torn)
        elif len(cells) != (width or 2):
            what = f"{counted(len(cells), 'cell')} instead of {width or 2} (a label with commas needs quotes)"
            yield Entry(f"row {row}", "", "", "", what)
        else:
            yield _entry(f"row {row}", cells[columns.image], cells[columns.label], columns, cells)


def _rows(labels_file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    return cells_by_line(labels_file, EXCEL_HINT.sub("", read_text(labels_file, "row")), delimiter)


def _header(labels_file: Path) -> tuple[str, list[str]] | None:
    """The delimiter of a table and the names of its columns, none where its first row is an image with its label."""
    for delimiter in _DELIMITERS:
        names = [_word(cell) for cell in _first_row(labels_file, delimiter)]
        if _first_of(_IMAGES, names) is not None and _first_of(_LABELS, names) is not None:
            return delimiter, names
    for delimiter in f"{_DELIMITERS} ":
        cells = _first_row(labels_file, delimiter)
        if len(cells) == 2 and Path(cells[0].strip()).suffix.lower() in SUFFIXES:
            return delimiter, []
    return None


def _first_row(labels_file: Path, delimiter: str) -> list[str]:
    """The cells of the first row; none where its quotes say that another delimiter is meant."""
    try:
        return next(_rows(labels_file, delimiter), (1, []))[1]
    except DataError:
        return []


def _columns(names: Sequence[str], labels_file: Path, delimiter: str) -> _Columns:
    image, label = (names.index(str(_first_of(usual, names))) for usual in (_IMAGES, _LABELS))
    whole = [cells for _, cells in _rows(labels_file, delimiter) if len(cells) == len(names)][1:]
    split = split_column(names, lambda name: (cells[names.index(name)] for cells in whole))
    return _Columns(image, label, None if split is None else names.index(split))


def _of_json(labels_file: Path, content: Any) -> Iterator[Entry]:
    if isinstance(content, dict) and Path(next(iter(content), "")).suffix.lower() in SUFFIXES:
        for number, (image, label) in enumerate(content.items(), start=1):
            yield _entry(f"entry {number}", image, label, _Columns(None, None, None), {})
        return
    lists = [value for value in content.values() if _keys(value)] if isinstance(content, dict) else []
    rows = lists[0] if len(lists) == 1 else content if isinstance(content, list) else [content]
    columns = _keys(rows)
    if columns is None:
        what = "no list (or lines) of mappings such as file_name and label, and no mapping of images to labels"
        raise DataError(f"{labels_file}: {what}")
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield _entry(f"entry {number}", row.get(columns.image), row.get(columns.label), columns, row)
        else:
            yield Entry(f"entry {number}", "", "", "", "no mapping with an image and its label")


def _keys(rows: Any) -> _Columns | None:
    """The keys of images, labels and splits in a list of mappings, or None; the first says them."""
    first = rows[0] if isinstance(rows, list) and rows else None
    if not isinstance(first, dict):
        return None
    keys = {_word(key): key for key in first}
    image, label = _first_of(_IMAGES, keys), _first_of(_LABELS, keys)
    if image is None or label is None:
        return None
    split = split_column(keys, lambda name: (row.get(keys[name]) for row in rows if isinstance(row, dict)))
    return _Columns(keys[image], keys[label], None if split is None else keys[split])


def _entry(where: str, image: Any, label: Any, columns: _Columns, row: Any) -> Entry:
    name = image_name(image) if isinstance(image, str) else ""
    labels, problem = _labels(label)
    side = ""
    if columns.split is not None:
        word = row.get(columns.split) if isinstance(row, Mapping) else row[columns.split]
        side = side_of(word) if isinstance(word, str) else ""
        problem = problem or ("" if side else f"the split of {name} is {word!r}, none of {', '.join(SIDES)}")
    return Entry(where, name, labels, side, problem if name else "no image name")


def _labels(value: Any) -> tuple[str | tuple[str, ...], str]:
    """A label as text, or several as a list, and what is wrong with it."""
    if isinstance(value, list):
        each = [_labels(item) for item in value]
        wrong = next((problem for _, problem in each if problem), "")
        return tuple(label for label, _ in each if isinstance(label, str)), wrong
    if isinstance(value, dict):
        return "", f"the label is a mapping ({listed(list(map(str, value)), 'key')})"
    if isinstance(value, bool):
        return str(value).lower(), ""
    return ("" if value is None else str(value).strip()), ""


def _first_of(usual: Sequence[str], names: Iterable[str]) -> str | None:
    known = set(names)
    return next((name for name in usual if name in known), None)


def _word(name: str) -> str:
    """The name of a column, however it is written: `File_Name` is `file name`."""
    return " ".join(re.split(r"[\s_-]+", name.strip().lower()))
