"""Folders of images: their files, states, sizes, and which can be read. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import compress
from pathlib import Path, PurePosixPath
from typing import Any

from joblib import Parallel, delayed
from PIL import Image

from trainer.errors import DataError, listed, plural
from trainer.store.cache_folder import cache_dir
from trainer.store.image_cache import undecodable
from trainer.store.text import write_whole

SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
})  # fmt: skip
# Image formats that are not read: files of them are reported.
OTHER_SUFFIXES = frozenset({".heic", ".heif", ".avif", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".nef", ".arw", ".exr"})
_log = logging.getLogger(__name__)
FileStat = tuple[str, int, int]


def files_below(folder: Path, suffixes: Collection[str]) -> list[str]:
    """The files in and below a folder, as sorted relative names, without hidden ones."""
    return sorted(name for name, _, _ in stats_below(folder, suffixes))


def stats_below(folder: Path, suffixes: Collection[str]) -> Iterator[FileStat]:
    """The files in and below a folder with their states, in no order."""
    for stat in file_stats(folder):
        name = stat[0]
        if os.path.splitext(name)[1].lower() in suffixes and not name.startswith(".") and "/." not in name:  # noqa: PTH122 - fast
            yield stat


def images_in(folder: Path, policy: str) -> list[str]:
    """The image files in and below a folder, by name; `DataError` where there is none.

    Under the policy `skip` those that cannot be read are left out, with a warning.
    """
    names = files_below(folder, SUFFIXES)
    if not names:
        raise DataError(f"{folder}: no image in it ({', '.join(sorted(SUFFIXES))})")
    bad = unreadable(names, folder, fingerprint(stats_of(folder, names))) if policy == "skip" else frozenset()
    if bad:
        unreadable_files = listed(sorted(bad), "unreadable image")
        if len(bad) == len(names):
            raise DataError(f"{folder}: {unreadable_files}, and no other in it")
        _log.warning("%s: %s left out (data.bad_samples=skip)", folder, unreadable_files)
    return [name for name in names if name not in bad]


def file_stats(folder: Path, prefix: str = "", above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[FileStat]:
    """The state of a folder: name, size and time of change of every file below it.

    A folder may be a link to one elsewhere; one that leads back to a folder above it (`above`: device and inode) is
    skipped.
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


def table_fingerprint(folder: Path, table: Path, named: Callable[[], Iterable[str]]) -> str:
    """A digest of the state of a table and of the images in `folder` that it names.

    `named` reads their names from it, once for each content, because large tables take long to read.
    """
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    names = remembered("names", digest[:32], lambda: list(dict.fromkeys(named())))
    return fingerprint(stats_of(folder, names), digest)


def fingerprint(images: Iterable[FileStat], annotated: str = "") -> str:
    """A digest of images, by name, size and time of change, and of their annotations.

    Other files in the folder, of the user or of a study, are not part of the data.
    """
    digest = hashlib.sha256(annotated.encode())
    digest.update(json.dumps(sorted(images)).encode())
    return digest.hexdigest()[:16]


def stats_of(folder: Path, names: Iterable[str]) -> Iterator[FileStat]:
    """The states of those files that exist."""
    for name in names:
        with suppress(OSError, ValueError):  # a missing one is reported where it is read
            stat = (folder / name).stat()
            yield name, stat.st_size, stat.st_mtime_ns


def left_out(number: int, *kinds: str) -> list[str]:
    """A warning that so many unusable entries, of one of these kinds, were left out; nothing for none."""
    nouns = [plural(kind, number) for kind in kinds]
    named = " or ".join(filter(None, (", ".join(nouns[:-1]), nouns[-1])))
    return [f"{number} unusable {named} left out (data.bad_samples=skip)"] if number else []


def image_name(written: str) -> str:
    """The name of an image in a table, however it is written: `./a.png` is `a.png`."""
    return PurePosixPath(written.strip()).as_posix() if written.strip() else ""


def existing(names: Iterable[str], folder: Path) -> tuple[list[str], list[str]]:
    """Which of the names are files of a folder, or below it, and which are not; each in their order."""
    with os.scandir(folder) as entries:
        there = {entry.name for entry in entries if entry.is_file()}
    here = {name: name in there or (("/" in name) and (folder / name).is_file()) for name in names}
    return [name for name, exists in here.items() if exists], [name for name, exists in here.items() if not exists]


def unreadable(names: Sequence[str], folder: Path, fingerprint: str) -> frozenset[str]:
    """Files that do not decode, determined once for each state of the data and kept in the cache folder."""
    paths = (folder / name for name in names)
    failing = remembered("unreadable", fingerprint, lambda: sorted(compress(names, undecodable(paths, 16))))
    return frozenset(failing)


def sizes(names: Sequence[str], folder: Path, fingerprint: str) -> dict[str, tuple[int, int]]:
    """Width and height of each file from its header, (0, 0) where it has none; kept in the cache folder, too."""
    kept = remembered("sizes", fingerprint, lambda: _measured(names, folder))
    return {name: (width, height) for name, (width, height) in kept.items()}


def remembered(what: str, key: str, find: Callable[[], Any]) -> Any:
    """A result in plain data, found once for each key and kept in the cache folder."""
    path = cache_dir() / what / f"{key}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    result = find()
    with suppress(OSError):  # without a cache folder it is computed again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(result))
    return result


def _measured(names: Sequence[str], folder: Path) -> dict[str, tuple[int, int]]:
    measured = Parallel(n_jobs=-1, prefer="threads")(delayed(_size)(folder / name) for name in names)
    return dict(zip(names, measured, strict=True))


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            width, height = image.size
            return width, height
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, 0
