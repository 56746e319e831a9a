"""Folders of images as files: what is in them, what can be read, how large it is. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from PIL import Image

from trainer.cache import cache_dir, decode
from trainer.errors import DataError
from trainer.textfiles import write_whole

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
FileStat = tuple[str, int, int]
_NAMED = 5  # so many bad rows or files are named in an error; the rest is counted


def listed(items: Sequence[str], noun: str) -> str:
    """`7 missing images: a, b, c, d, e and 2 more`."""
    if len(items) != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    named = ", ".join(items[:_NAMED])
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return f"{len(items)} {noun}: {named}{more}"


def files_below(folder: Path, suffixes: Collection[str]) -> list[str]:
    """The files of a folder and of those in it, by name as seen from it; hidden ones are nobody's images."""
    names = [name for name, _, _ in file_stats(folder) if Path(name).suffix.lower() in suffixes]
    return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))


def images_in(folder: Path) -> list[str]:
    """The image files in and below a folder, by name; `DataError` where there is none."""
    names = files_below(folder, SUFFIXES)
    if not names:
        raise DataError(f"{folder}: no image in it ({', '.join(sorted(SUFFIXES))})")
    return names


def file_stats(folder: Path, prefix: str = "", above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[FileStat]:
    """Name, size and time of change of every file below a folder: what tells one state of it from another.

    A folder may be a link to one elsewhere; one that leads back to a folder above it (`above`: device and inode) is
    passed over.
    """
    own = folder.stat()
    here = above | {(own.st_dev, own.st_ino)}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                there = entry.stat()
                if (there.st_dev, there.st_ino) not in here:
                    yield from file_stats(Path(entry.path), f"{prefix}{entry.name}/", here)
            elif entry.is_file():
                yield f"{prefix}{entry.name}", entry.stat().st_size, entry.stat().st_mtime_ns


def fingerprint(images_dir: Path, annotations: Path | None) -> str:
    """A digest of every image's name, size and time of change, and of a file of annotations where there is one."""
    digest = hashlib.sha256(annotations.read_bytes() if annotations is not None else b"")
    digest.update(json.dumps(sorted(file_stats(images_dir))).encode())
    return digest.hexdigest()[:16]


def existing(names: Iterable[str], folder: Path) -> tuple[list[str], list[str]]:
    """Which of the names are files of a folder, or below it, and which are not; each in their order."""
    with os.scandir(folder) as entries:
        there = {entry.name for entry in entries}
    here = {name: name in there or (("/" in name) and (folder / name).is_file()) for name in names}
    return [name for name, found in here.items() if found], [name for name, found in here.items() if not found]


def unreadable(names: Sequence[str], folder: Path, fingerprint: str) -> frozenset[str]:
    """Files that do not decode, found once for each state of the data and remembered in the cache folder."""
    found = _remembered("unreadable", fingerprint, lambda: _undecodable(names, folder))
    return frozenset(found)


def sizes(names: Sequence[str], folder: Path, fingerprint: str) -> dict[str, tuple[int, int]]:
    """Width and height of each file from its header, (0, 0) where it has none; remembered likewise."""
    found = _remembered("sizes", fingerprint, lambda: _measured(names, folder))
    return {name: (width, height) for name, (width, height) in found.items()}


def _remembered(what: str, fingerprint: str, find: Callable[[], Any]) -> Any:
    path = cache_dir() / what / f"{fingerprint}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    found = find()
    with suppress(OSError):  # without a cache folder it is found out again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(found))
    return found


def _undecodable(names: Sequence[str], folder: Path) -> list[str]:
    verdicts = Parallel(n_jobs=-1, prefer="threads")(delayed(_decodes)(folder / name) for name in names)
    return sorted(name for name, good in zip(names, verdicts, strict=True) if not good)


def _decodes(path: Path) -> bool:
    try:
        decode(path, 16)
    except DataError:
        return False
    return True


def _measured(names: Sequence[str], folder: Path) -> dict[str, tuple[int, int]]:
    found = Parallel(n_jobs=-1, prefer="threads")(delayed(_size)(folder / name) for name in names)
    return dict(zip(names, found, strict=True))


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            width, height = image.size
            return width, height
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, 0
