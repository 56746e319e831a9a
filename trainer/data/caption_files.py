"""Files of captions, in the forms in which people have them; which it is, their content says. Imports no torch.

Tables with commas, semicolons, tabs or bars; Flickr8k's tokens; JSON lines and lists; COCO's and Karpathy's JSON.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.data.image_folders import SUFFIXES, existing, image_name
from trainer.data.split_names import SIDES, TEST, side_of, split_column
from trainer.errors import DataError
from trainer.store.csv_tables import EXCEL_HINT, cells_by_line, swallowed
from trainer.store.json_files import json_of
from trainer.store.text import half_a_character, read_text

# Usual names of columns and keys, the surest first.
_IMAGES = (
    "file_name", "filename", "image_path", "img_path", "filepath", "file_path", "image_file", "img_file", "image_name",
    "img_name", "image", "img", "images", "file", "path", "photo", "picture", "name", "image_id",
)  # fmt: skip
_CAPTIONS = (
    "caption", "captions", "text", "texts", "description", "sentence", "sentences", "comment", "comments", "raw",
    "prompt", "title", "alt_text", "alt",
)  # fmt: skip
_SPLIT = "split"
_MISSING = frozenset(("nan", "null", "none", "<na>", "n/a"))  # as tables write a cell without a value
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_LONGEST_NAME = 255
_LOOKED_AT = 20  # entries, of which one must have an image and a caption
_FLICKR_TOKENS = re.compile(r"[^\t]+#\d+\t")
_EXPECTED = (
    "expected COCO captions, a mapping with lists of images and annotations, or Karpathy's JSON, or a list or lines of "
    "mappings with keys such as file_name and text"
)


class NoCaptionsError(DataError):
    """A file is in none of the forms."""


@dataclass
class CaptionsFound:
    """What a file says: captions by the name of their image, and a line on each unusable row or entry, a `noun`.

    `splits` has the split of each image where the file gives it; `form` is what the file was recognised as. Images are
    named by their files in `folder`, however they are written.
    """

    form: str = ""
    noun: str = "row"
    folder: Path | None = None
    captions: dict[str, list[str]] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add(self, where: str, written: Any, texts: Any, split: Any = None) -> None:
        """An image's captions, one or a list, from a place in the file; `split` is None where the file has none."""
        name = image_name(written, self.folder) if isinstance(written, str) else ""
        side = (side_of(split) or None) if isinstance(split, str) else None
        listed = texts if isinstance(texts, list) else _list_in(texts)
        captions = [" ".join(text.split()) if isinstance(text, str) else "" for text in map(_raw, listed)]
        if not name:
            problem = "no image name"
        elif max(map(len, name.split("/"))) > _LONGEST_NAME:
            problem = f"an image name of {len(name)} characters"
        elif not captions or not all(captions):
            odd = next((text for text in map(_raw, listed) if text is not None and not isinstance(text, str)), None)
            problem = f"empty caption of {name}" if odd is None else f"a caption of {name} is no text: {str(odd)[:60]}"
        elif missing := [text for text in captions if text.lower() in _MISSING]:
            problem = f"the caption of {name} is {missing[0]!r}, which stands for a missing one"
        elif half_a_character("".join([name, *captions])):
            problem = f"half a character in the name or a caption of {name!a}"
        elif split is not None and side is None:
            problem = f"the split of {name} is {split!r}, none of {', '.join(SIDES)}"
        elif split is not None and self.splits.get(name, side) != side:
            problem = f"{name} is in {side}, but in {self.splits[name]} before"
        else:
            self.captions.setdefault(name, []).extend(captions)
            if side is not None:
                self.splits[name] = side
            return
        self.wrong.append(f"{where}: {problem}")

    def used(self) -> dict[str, list[str]]:
        """The captions of images that are trained or validated on."""
        return {name: texts for name, texts in self.captions.items() if self.splits.get(name) != TEST}


def _list_in(text: Any) -> list[Any]:
    """The captions in a cell that holds a list of them, as pandas writes one; else the cell alone."""
    if isinstance(text, str) and text.startswith("[") and text.endswith("]"):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            value = ast.literal_eval(text)
            if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
                return value
    return [text]


def _raw(text: Any) -> Any:
    """A caption; Karpathy's and others keep it as `raw` beside its tokens."""
    return text.get("raw", text.get("caption")) if isinstance(text, dict) else text


def captions_in(path: Path, images_dir: Path) -> CaptionsFound:
    """The captions in a file. `NoCaptionsError` where it has no known form, `DataError` where it is damaged."""
    text = read_text(path, "row")
    content = json_of(path, text)
    if content is None:
        return _of_text(path, text, images_dir)
    found = CaptionsFound(noun="entry", folder=images_dir)
    if isinstance(content, dict) and _is_list_of(content.get("images"), "sentences"):
        _karpathy(found, content["images"], images_dir)
    elif isinstance(content, dict) and all(isinstance(content.get(name), list) for name in ("images", "annotations")):
        _coco(found, content)
    elif isinstance(content, dict) and Path(next(iter(content), "")).suffix.lower() in SUFFIXES:
        found.form = "a JSON mapping of images to captions"
        for name, texts in content.items():
            found.add(f"entry {name!r}", name, texts)
    else:
        _entries(found, path, text, content)
    return found


def _is_list_of(value: Any, key: str) -> bool:
    return isinstance(value, list) and any(isinstance(entry, dict) and key in entry for entry in value[:1])


def _karpathy(found: CaptionsFound, images: Sequence[Any], images_dir: Path) -> None:
    """Source: Karpathy and Fei-Fei 2015, as their data sets are published."""
    found.form = "Karpathy's JSON"
    folders: dict[str, bool] = {}
    for position, image in enumerate(images):
        entry = image if isinstance(image, dict) else {}
        name, folder = entry.get("filename"), entry.get("filepath")
        if isinstance(name, str) and name and isinstance(folder, str) and folder:
            if folder not in folders:  # all images may lie in one folder, too
                folders[folder] = (images_dir / folder).is_dir()
            name = f"{folder}/{name}" if folders[folder] else name
        found.add(f"image at position {position}", name, entry.get("sentences"), entry.get(_SPLIT, ""))


def _coco(found: CaptionsFound, content: Mapping[str, Any]) -> None:
    """Source: COCO's description of its format, cocodataset.org."""
    found.form = "COCO captions"
    names: dict[Any, str] = {}
    for position, image in enumerate(content["images"]):
        name = image.get("file_name") if isinstance(image, dict) else None
        if not isinstance(name, str) or not name or not isinstance(image.get("id"), int | str):
            found.wrong.append(f"image at position {position} has no id or file_name")
        elif image["id"] in names:
            of = f"the id {image['id']!r} of another ({names[image['id']]})"
            found.wrong.append(f"image at position {position} has {of}")
        else:
            names[image["id"]] = name
    found.captions = {image_name(name, found.folder): [] for name in names.values()}
    for position, entry in enumerate(content["annotations"]):
        what = _unusable(entry, names)
        if what:
            found.wrong.append(f"annotation at position {position} {what}")
        else:
            found.add(f"annotation at position {position}", names[entry["image_id"]], entry["caption"])
    found.captions = {name: texts for name, texts in found.captions.items() if texts}


def _unusable(entry: Any, names: Mapping[Any, str]) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("caption"), str):
        return "has no caption (boxes are another file)"
    if not isinstance(entry.get("image_id"), int | str) or entry["image_id"] not in names:
        return f"is of no known image ({entry.get('image_id')!r})"
    return "" if entry["caption"].strip() else "has an empty caption"


def _entries(found: CaptionsFound, path: Path, text: str, content: Any) -> None:
    """Mappings with an image and its captions: a list of them, one a line, or the only list in a mapping."""
    lists = [value for value in content.values() if _rows_of(value)] if isinstance(content, dict) else []
    rows = lists[0] if len(lists) == 1 else content if isinstance(content, list) else [content]
    if not _rows_of(rows):
        raise NoCaptionsError(f"{path}: {_EXPECTED}")
    first = {str(key).strip().lower(): key for row in reversed(rows) if isinstance(row, dict) for key in row}
    image, caption = _columns(first) or ("", "")
    split = split_column(first, lambda column: [row.get(first[column]) for row in rows if isinstance(row, dict)])
    split = first.get(split) if split else None
    by_line = isinstance(content, list) and text.lstrip().startswith("{")
    found.form = f"JSON {'lines' if by_line else 'entries'} ({first[image]}, {first[caption]})"
    lines = [n for n, line in enumerate(text.split("\n"), start=1) if line.strip()] if by_line else []
    for position, row in enumerate(rows):
        where = f"line {lines[position]}" if by_line else f"entry at position {position}"
        entry = row if isinstance(row, dict) else {}
        found.add(where, entry.get(first[image]), entry.get(first[caption]), split and entry.get(split, ""))


def _rows_of(value: Any) -> bool:
    """Whether a value is a list of mappings with an image and its captions; one of the first says it."""
    first = [row for row in value[:_LOOKED_AT] if isinstance(row, dict)] if isinstance(value, list) else []
    return any(_columns([str(key).strip().lower() for key in row]) is not None for row in first)


def _columns(names: Iterable[str]) -> tuple[str, str] | None:
    """The names of images and of captions among those of columns, or None."""
    known = set(names)
    image = next((name for name in _IMAGES if name in known), None)
    caption = next((name for name in _CAPTIONS if name in known), None)
    return (image, caption) if image is not None and caption is not None else None


def _of_text(path: Path, text: str, images_dir: Path) -> CaptionsFound:
    text = EXCEL_HINT.sub("", text)
    first = next((line for line in _lines(text) if line.strip()), "")
    if _FLICKR_TOKENS.match(first):
        found = CaptionsFound("Flickr8k's tokens", folder=images_dir)
        for row, cells in _split_lines(text, "\t", 1):
            if len(cells) == 2:
                found.add(f"row {row}", cells[0].rpartition("#")[0], cells[1])
            else:
                found.wrong.append(f"row {row}: no tab between image and caption")
        return found
    headers = {delimiter: _first_cells(path, first, delimiter) for delimiter in _DELIMITERS}
    for delimiter, cells in headers.items():
        names = [cell.lower() for cell in cells]
        if (columns := _columns(names)) is not None:
            return _table(path, text, images_dir, delimiter, names, columns)
    for delimiter, cells in headers.items():
        if len(cells) > 1 and len(cells[0]) <= _LONGEST_NAME and existing([image_name(cells[0])], images_dir)[0]:
            numbered = len(cells) > 2 and cells[1].isdigit()
            names = ["image", "number", "caption"] if numbered else ["image", "caption"]
            return _table(path, text, images_dir, delimiter, names)
    found_first = first.strip()[:80] or "nothing"
    others = "or columns such as file_name,text; semicolons, tabs and bars will do, and JSON"
    raise NoCaptionsError(f"{path}: the header must be image,caption; found {found_first} ({others})")


def _first_cells(path: Path, line: str, delimiter: str) -> list[str]:
    """The cells of a table's first line, stripped."""
    try:
        return [cell.strip() for _, cells in cells_by_line(path, line, delimiter) for cell in cells]
    except DataError:  # its quotes are of another kind of table
        return []


def _table(
    path: Path,
    text: str,
    images_dir: Path,
    delimiter: str,
    names: Sequence[str],
    columns: tuple[str, str] | None = None,
) -> CaptionsFound:
    """The captions in a table with these columns; without `columns` it has no header."""
    kind = _DELIMITERS[delimiter]
    image, caption = columns or ("image", "caption")
    what = f"({image}, {caption})" if columns else "without a header"
    found = CaptionsFound(f"CSV {what}" if delimiter == "," else f"{kind}-separated {what}", folder=images_dir)
    # Beside commas and semicolons quotes mean what they say, and a last cell may hold bars.
    splits = len(names) - 1 if delimiter == "|" else -1
    rows = list(cells_by_line(path, text, delimiter) if delimiter in ",;" else _split_lines(text, delimiter, splits))
    at_image, at_caption = names.index(image), names.index(caption)
    whole = [cells for _, cells in rows[1:] if len(cells) == len(names)]
    split = split_column(names, lambda name: [cells[names.index(name)] for cells in whole]) if columns else None
    at_split = None if split is None else names.index(split)
    for number, (row, cells) in enumerate(rows):
        again = bool(columns) and [cell.strip().lower() for cell in cells] == names
        if again and number == 0:
            continue
        if problem := _torn(cells, len(names), kind) or ("the header a second time" if again else ""):
            found.wrong.append(f"row {row}: {problem}")
        else:
            found.add(f"row {row}", cells[at_image], cells[at_caption], None if at_split is None else cells[at_split])
    return found


def _torn(cells: Sequence[str], columns: int, delimiter: str) -> str:
    advice = f"a caption with {delimiter}s needs quotes"
    return swallowed(cells) or ("" if len(cells) == columns else f"{len(cells)} cells instead of {columns} ({advice})")


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _split_lines(text: str, delimiter: str, splits: int) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that is not blank, split at most so often, with its number."""
    for row, line in enumerate(_lines(text), start=1):
        if line.strip():
            yield row, [_unquoted(cell) for cell in line.split(delimiter, splits)]


def _unquoted(cell: str) -> str:
    """A cell without the quotes that a spreadsheet puts around one with quotes in it."""
    inner = cell[1:-1].replace('""', "")
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner
    return cell[1:-1].replace('""', '"') if quoted else cell
