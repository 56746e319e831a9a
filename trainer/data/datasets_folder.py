"""Folders of the `datasets` library, and of Parquet files, with images inside: unpacked once into the cache folder.

From there on they are read like any other data: a folder of images, with labels, captions or boxes in files.
Imports no torch.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from PIL import Image

from trainer.config.registry import load
from trainer.data.datasets_columns import Columns, boxes_in, captions_in, columns_of, label_in
from trainer.data.image_folders import file_stats
from trainer.data.split_names import TEST, TRAIN, VALIDATION, side_of
from trainer.errors import DataError, counted, first_line
from trainer.store.cache_folder import cache_dir
from trainer.store.locks import locked

_VERSION = 1  # increased whenever the same files would be unpacked otherwise
_SHARD = re.compile(r"[-_.]?\d+([-_.]of[-_.]\d+)?$")  # as in train-00000-of-00002
_FORMATS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}
_BLOCK_ROWS = 64
_LABELS, _CAPTIONS, _MANIFEST = "labels.jsonl", "captions.csv", "manifest.json"


@dataclass(frozen=True)
class Unpacked:
    """What was in a folder, as files: `labels` (JSON lines) and `captions` (CSV) with a split where the folder has one,
    `boxes` (COCO) to train and, where there are such, to validate on; None, or nothing, for what it does not have.

    `words` describe it; `left_out` are images that are for a test.
    """

    images_dir: Path
    labels: Path | None
    captions: Path | None
    boxes: tuple[Path, ...]
    words: str
    left_out: int


def recognised(folder: Path | None) -> bool:
    """Whether a folder was written by the `datasets` library, or holds Parquet files."""
    if folder is None or not folder.is_dir():
        return False
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return True
    return any(True for pattern in ("*.parquet", "*/*.parquet", "*.arrow") for _ in folder.glob(pattern))


def unpacked(folder: Path) -> Unpacked:
    """The content of such a folder as files; `DataError` where it has no images, or pyarrow is not installed."""
    files = _files_in(folder)
    if find_spec("pyarrow") is None:
        what = f"{folder}: a folder of the datasets library ({counted(len(files), 'table')} such as {files[0][1].name})"
        raise DataError(f"{what}; to read it, install pyarrow: pip install 'rungwise[datasets]'")
    state = sorted(stat for stat in file_stats(folder) if stat[0].endswith((".parquet", ".arrow", ".json")))
    key = hashlib.sha256(json.dumps([_VERSION, state]).encode()).hexdigest()[:24]
    place = cache_dir() / "datasets" / key
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.with_name(f".{key}.lock")):
            if not (place / _MANIFEST).is_file():
                _unpack(folder, files, place)
    except OSError as error:
        advice = "the environment variable RUNGWISE_CACHE can name another place for what is unpacked"
        raise DataError(f"{error.filename or place}: {error.strerror or error}; {advice}") from None
    found = json.loads((place / _MANIFEST).read_text(encoding="utf-8"))
    return Unpacked(
        images_dir=place / "images",
        labels=place / _LABELS if found["labels"] else None,
        captions=place / _CAPTIONS if found["captions"] else None,
        boxes=tuple(place / name for name in found["boxes"]),
        words=found["words"],
        left_out=found["left_out"],
    )


def captioned(folder: Path) -> tuple[Path, Path]:
    """The images and the file of captions of such a folder; `DataError` where it has no captions."""
    found = unpacked(folder)
    if found.captions is None:
        raise DataError(f"{folder}: its tables have {found.words}, but no captions")
    return found.images_dir, found.captions


def _files_in(folder: Path) -> list[tuple[str, Path]]:
    """The tables of a folder in their order, each with its side of the split; `DataError` where several would do."""
    tables = sorted(path for end in ("parquet", "arrow") for path in folder.rglob(f"*.{end}") if path.is_file())
    tables = [path for path in tables if not path.name.startswith((".", "cache-"))]
    if not tables:
        raise DataError(f"{folder}: a folder of the datasets library without a table in it (*.arrow, *.parquet)")
    places = {path.parent for path in tables}
    if len(places) > 1 and not any(side_of(place.name) for place in places):
        named = ", ".join(sorted(str(place.relative_to(folder)) for place in places))
        raise DataError(f"{folder}: several data sets in it ({named}); name the folder of one")
    sides = [_side(path) for path in tables]
    if not any(sides):
        return [(TRAIN, path) for path in tables]
    if TRAIN not in sides:
        raise DataError(f"{folder}: no table to train on in it, only {', '.join(path.name for path in tables[:5])}")
    return [(side or TEST, path) for side, path in zip(sides, tables, strict=True)]


def _side(path: Path) -> str:
    return side_of(_SHARD.sub("", path.stem)) or side_of(path.parent.name)


def _unpack(folder: Path, files: Sequence[tuple[str, Path]], place: Path) -> None:
    """Writes into a folder beside the final one and moves it into place, so that no reader finds half of it."""
    fresh = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        (fresh / "images").mkdir(parents=True)
        with _Writer(fresh, split=len({side for side, _ in files}) > 1) as writer:
            for side, path in files:
                for columns, row in _rows(path):
                    writer.add(side, columns, row, path.parent)
        if not writer.images:
            raise DataError(f"{folder}: no image in its tables ({', '.join(path.name for _, path in files[:5])})")
        (fresh / _MANIFEST).write_text(json.dumps(writer.manifest()), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)  # one that is not whole
        fresh.rename(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _rows(path: Path) -> Iterator[tuple[Columns, Mapping[str, Any]]]:
    """The rows of a table with images, of which only the columns that are used are read."""
    try:
        if path.suffix == ".parquet":
            table = load("pyarrow.parquet:ParquetFile")(path)
            schema, blocks = table.schema_arrow, table.iter_batches(batch_size=_BLOCK_ROWS)
        else:
            table = load("pyarrow:ipc").open_stream(load("pyarrow:OSFile")(str(path)))
            schema, blocks = table.schema, iter(table)
        columns = columns_of(schema)
        if columns is None:
            raise DataError(f"{path}: no column of images in it, only {', '.join(schema.names[:10])}")
        for block in blocks:
            for start in range(0, len(block), _BLOCK_ROWS):
                yield from ((columns, row) for row in block.slice(start, _BLOCK_ROWS).to_pylist())
    except load("pyarrow:ArrowException") as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)})") from None


@dataclass
class _Writer:
    """Writes images and what is known of them; with `split`, on which side of it each is."""

    folder: Path
    split: bool
    images: int = 0
    left_out: int = 0
    words: str = ""
    lines: dict[str, int] = field(default_factory=dict)
    coco: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> _Writer:
        self._labels: IO[str] = (self.folder / _LABELS).open("w", encoding="utf-8")
        self._captions: IO[str] = (self.folder / _CAPTIONS).open("w", encoding="utf-8", newline="")
        self._table = csv.writer(self._captions)
        return self

    def __exit__(self, *_: object) -> None:
        self._labels.close()
        self._captions.close()
        for side, content in self.coco.items():
            named = [{"id": number, "name": name} for name, number in self.kinds.items()]
            (self.folder / f"{side}.json").write_text(json.dumps({**content, "categories": named}), encoding="utf-8")

    def manifest(self) -> dict[str, Any]:
        boxes = [f"{side}.json" for side in (TRAIN, VALIDATION) if side in self.coco]
        filled = {name: self.lines.get(name, 0) > 0 for name in ("labels", "captions")}
        return {**filled, "boxes": boxes, "words": self.words, "left_out": self.left_out}

    def add(self, side: str, columns: Columns, row: Mapping[str, Any], beside: Path) -> None:
        """One row of a table; an image that is only named lies `beside` the table."""
        if side == TEST:
            self.left_out += 1
            return
        self.words = self.words or columns.words
        content = _content(row[columns.image], beside)
        name = f"{side}/{self.images:07d}{_suffix(content)}"
        (self.folder / "images" / side).mkdir(exist_ok=True)
        (self.folder / "images" / name).write_bytes(content)
        self.images += 1
        if columns.label:
            entry = {"file_name": name, "label": label_in(row, columns), **({"split": side} if self.split else {})}
            self._labels.write(f"{json.dumps(entry, ensure_ascii=False, default=str)}\n")
            self.lines["labels"] = 1
        if columns.captions:
            more = [side] if self.split else []
            if not self.lines.get("captions"):
                self._table.writerow(["image", "caption", *(["split"] if self.split else [])])
                self.lines["captions"] = 1
            self._table.writerows([name, caption, *more] for caption in captions_in(row, columns) or [""])
        if columns.objects:
            self.kinds.update({kind: number for number, kind in enumerate(columns.names, start=1)})
            self._add_boxes(side, name, content, boxes_in(row, columns))

    def _add_boxes(self, side: str, name: str, content: bytes, boxes: Sequence[tuple[list[float], str]]) -> None:
        coco = self.coco.setdefault(side, {"images": [], "annotations": []})
        width, height = 0, 0
        with suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError), _opened(content) as image:
            width, height = image.size
        coco["images"].append({"id": self.images, "file_name": name, "width": width, "height": height})
        for box, kind in boxes:
            category = self.kinds.setdefault(kind, len(self.kinds) + 1)
            number = len(coco["annotations"]) + 1
            area = box[2] * box[3] if len(box) == 4 else 0.0
            entry = {"id": number, "image_id": self.images, "category_id": category, "bbox": box}
            coco["annotations"].append({**entry, "area": area, "iscrowd": 0})


def _content(value: Any, beside: Path) -> bytes:
    """The bytes of an image in a cell; none where there are neither bytes nor a file, which the check then reports."""
    content, name = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if content is None and name and (beside / str(name)).is_file():
        content = (beside / str(name)).read_bytes()
    return bytes(content) if isinstance(content, bytes) else b""


def _suffix(content: bytes) -> str:
    with suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError), _opened(content) as image:
        return _FORMATS.get(image.format or "", ".png")
    return ".png"


def _opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))
