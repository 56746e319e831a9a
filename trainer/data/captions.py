"""Captions in files: a folder of images and a CSV with the header image,caption. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from trainer.data.image_folders import existing, image_name, table_fingerprint, unreadable, with_nearest
from trainer.errors import DataError, listed
from trainer.store.csv_tables import csv_rows

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
    """The state of the files of captions and images. `caption_file` may be a folder of caption files."""

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
    state = table_fingerprint(images_dir, caption_file, lambda: _rows(caption_file)[0])
    return _read(Stamp(images_dir, caption_file, policy, state))


@lru_cache(maxsize=8)
def _read(stamp: Stamp) -> CaptionTable:
    by_image, wrong = _rows(stamp.caption_file)
    return usable_captions(by_image, wrong, stamp, "unusable row")


def _rows(caption_file: Path) -> tuple[Mapping[str, Sequence[str]], Sequence[str]]:
    """Captions by the name of their image, and a line on each unusable row."""
    wrong: list[str] = []
    by_image: dict[str, list[str]] = {}
    for row, cells in csv_rows(caption_file, HEADER):
        problem = _problem(cells)
        if problem:
            wrong.append(f"row {row}: {problem}")
        else:
            by_image.setdefault(image_name(cells[0]), []).append(" ".join(cells[1].split()))
    return by_image, wrong


def usable_captions(
    by_image: Mapping[str, Sequence[str]], wrong: Sequence[str], stamp: Stamp, noun: str
) -> CaptionTable:
    """The existing images with their captions, whatever kind of file these were read from.

    `by_image`: names in the images' folder; `wrong`: what could not be used, each a `noun`. `DataError` says both,
    unless they are skipped; then images that do not decode are left out too.
    """
    skip = stamp.policy == "skip"
    captions: dict[str, list[str]] = {}
    for name, texts in by_image.items():
        captions.setdefault(image_name(name, stamp.images_dir), []).extend(texts)
    names, missing = existing(captions, stamp.images_dir)
    faults = [f"{stamp.caption_file}: {listed(wrong, noun)}"] if wrong else []
    if (faults or missing) and not skip:
        if missing:
            faults += [f"{stamp.images_dir}: {listed(with_nearest(missing, stamp.images_dir), 'missing image')}"]
        raise DataError("; ".join([*faults, "data.bad_samples=skip leaves them out"]))
    if skip:
        bad = unreadable(names, stamp.images_dir, stamp.fingerprint)
        names = [name for name in names if name not in bad]
        missing += sorted(bad)
    if not names:
        raise DataError(f"{stamp.caption_file}: no usable caption in it ({len(wrong) + len(missing)} left out)")
    return CaptionTable(
        tuple(stamp.images_dir / name for name in names),
        tuple(tuple(captions[name]) for name in names),
        len(wrong) + len(missing),
        stamp.fingerprint,
    )


def _problem(cells: Sequence[str]) -> str:
    if len(cells) != len(HEADER):
        return f"{len(cells)} cells instead of 2 (a caption with commas needs quotes)"
    if [cell.strip() for cell in cells] == HEADER:
        return "the header a second time"
    if not cells[0].strip():
        return "no image name"
    return "" if cells[1].strip() else f"empty caption of {cells[0]}"
