"""Captions as files: a folder of images and a CSV with the header image,caption. Imports no torch."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from trainer.errors import DataError
from trainer.imagefiles import fingerprint, listed, unreadable

HEADER = ["image", "caption"]


@dataclass(frozen=True)
class CaptionTable:
    """Usable images in the order in which their file first names them, each with its captions."""

    images: tuple[Path, ...]
    captions: tuple[tuple[str, ...], ...]
    skipped: int
    fingerprint: str


@dataclass(frozen=True)
class Stamp:
    """What tells one state of the files from another. `caption_file` may be a folder of them."""

    images_dir: Path
    caption_file: Path
    policy: str
    fingerprint: str


def read_captions(images_dir: Path, caption_file: Path, policy: Literal["error", "skip"]) -> CaptionTable:
    """The usable images with their captions; `DataError` names what is wrong by file and row."""
    if not caption_file.is_file():
        raise DataError(f"{caption_file}: no such caption file (data.caption_file)")
    if not images_dir.is_dir():
        raise DataError(f"{images_dir}: no such folder of images (data.images_dir)")
    return _read(Stamp(images_dir, caption_file, policy, fingerprint(images_dir, caption_file)))


@lru_cache(maxsize=8)
def _read(stamp: Stamp) -> CaptionTable:
    wrong: list[str] = []
    by_image: dict[str, list[str]] = {}
    for row, cells in _rows(stamp.caption_file):
        problem = _problem(cells)
        if problem:
            wrong.append(f"row {row}: {problem}")
        else:
            by_image.setdefault(cells[0].strip(), []).append(" ".join(cells[1].split()))
    return usable_captions(by_image, wrong, stamp, "unusable row")


def usable_captions(
    by_image: Mapping[str, Sequence[str]], wrong: Sequence[str], stamp: Stamp, noun: str
) -> CaptionTable:
    """The images that are there with their captions, whatever kind of file they were read from.

    `by_image`: names in the images' folder; `wrong`: what could not be used, each a `noun`. `DataError` says both,
    unless they are skipped; then images that do not decode are left out too.
    """
    skip = stamp.policy == "skip"
    if wrong and not skip:
        raise DataError(f"{stamp.caption_file}: {listed(wrong, noun)}")
    names, missing = _existing(by_image, stamp.images_dir)
    if missing and not skip:
        hint = "data.bad_samples=skip leaves them out"
        raise DataError(f"{stamp.images_dir}: {listed(missing, 'missing image')}; {hint}")
    if skip:
        bad = unreadable(names, stamp.images_dir, stamp.fingerprint)
        names = [name for name in names if name not in bad]
        missing += sorted(bad)
    if not names:
        raise DataError(f"{stamp.caption_file}: no usable caption in it ({len(wrong) + len(missing)} left out)")
    return CaptionTable(
        tuple(stamp.images_dir / name for name in names),
        tuple(tuple(by_image[name]) for name in names),
        len(wrong) + len(missing),
        stamp.fingerprint,
    )


def _rows(caption_file: Path) -> Iterator[tuple[int, list[str]]]:
    """Row number (the header is row 1) and cells; checks encoding and header."""
    try:
        text = caption_file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{caption_file}, row {line}: not UTF-8 text") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        if header != HEADER:
            found = ",".join(header)[:80] or "nothing"
            raise DataError(f"{caption_file}: the header must be image,caption; found {found}")
        for row, cells in enumerate(rows, start=2):
            if cells:
                yield row, cells
    except csv.Error as error:
        raise DataError(f"{caption_file}, line {rows.line_num}: not a readable CSV ({error})") from None


def _problem(cells: Sequence[str]) -> str:
    if len(cells) != len(HEADER):
        return f"{len(cells)} cells instead of 2 (a caption with commas needs quotes)"
    if [cell.strip() for cell in cells] == HEADER:
        return "the header a second time"
    if not cells[0].strip():
        return "no image name"
    return "" if cells[1].strip() else f"empty caption of {cells[0]}"


def _existing(by_image: Mapping[str, Sequence[str]], images_dir: Path) -> tuple[list[str], list[str]]:
    with os.scandir(images_dir) as entries:
        there = {entry.name for entry in entries}
    here = {name: name in there or (("/" in name) and (images_dir / name).is_file()) for name in by_image}
    return [n for n, ok in here.items() if ok], [n for n, ok in here.items() if not ok]
