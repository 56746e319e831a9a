"""Folders of images: their files, states, sizes, and which can be read. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import compress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import PIL

from trainer.errors import DataError, listed, plural
from trainer.store.cache_folder import remembered
from trainer.store.image_cache import file_stamp, on_all_cores, undecodable
from trainer.store.image_files import TRANSFORM, Header, header_of

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

    `named` reads their names from it, once for each content and folder, because large tables take long to read.
    """
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    key = hashlib.sha256(f"{digest} {folder}".encode()).hexdigest()[:32]
    names = remembered("names", key, lambda: list(dict.fromkeys(named())))
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
    for written in names:
        with suppress(OSError, ValueError):  # a missing one is reported where it is read
            name = image_name(written, folder)
            stat = (folder / name).stat()
            yield name, stat.st_size, stat.st_mtime_ns


def left_out(number: int, *kinds: str) -> list[str]:
    """A warning that so many unusable entries, of one of these kinds, were left out; nothing for none."""
    nouns = [plural(kind, number) for kind in kinds]
    named = " or ".join(filter(None, (", ".join(nouns[:-1]), nouns[-1])))
    return [f"{number} unusable {named} left out (data.bad_samples=skip)"] if number else []


def image_name(written: str, folder: Path | None = None) -> str:
    """The name of an image in a table, however it is written: `./a.png` is `a.png`.

    With its `folder`, a path into it is a name below it, `b\\a.png` is `b/a.png` where that is the file, and spaces at
    its ends may belong to it.
    """
    name = PurePosixPath(written.strip()).as_posix() if written.strip() else ""
    if folder is not None and written != written.strip() and _is_file(folder / written):
        return PurePosixPath(written).as_posix()
    if folder is not None and name.startswith("/") and PurePosixPath(name).is_relative_to(folder.absolute()):
        return PurePosixPath(name).relative_to(folder.absolute()).as_posix()
    if folder is not None and "\\" in name and not _is_file(folder / name):
        with_slashes = PurePosixPath(name.replace("\\", "/")).as_posix()
        return with_slashes if _is_file(folder / with_slashes) else name
    return name


def _is_file(path: Path) -> bool:
    with suppress(OSError, ValueError):  # a name that is too long, or holds a NUL
        return path.is_file()
    return False


def existing(names: Iterable[str], folder: Path) -> tuple[list[str], list[str]]:
    """Which of the names are files of a folder, or below it, and which are not; each in their order."""
    with os.scandir(folder) as entries:
        there = {entry.name for entry in entries if entry.is_file()}
    here = {name: name in there or (("/" in name) and _is_file(folder / name)) for name in names}
    return [name for name, exists in here.items() if exists], [name for name, exists in here.items() if not exists]


def with_nearest(missing: Sequence[str], folder: Path) -> list[str]:
    """Names that are no files of a folder, each with the only file there that it probably means."""
    if not missing:
        return []
    by_form: list[dict[str, list[str]]] = [defaultdict(list) for _ in _forms("")]
    for name, _, _ in file_stats(folder):
        for files, form in zip(by_form, _forms(name), strict=True):
            files[form].append(name)
    return [f"{name}{_nearest(name, folder, by_form)}" for name in missing]


def _forms(name: str) -> tuple[str, ...]:
    """A name without what systems and programs change in names; then without its suffix, its folders, both."""
    whole = unicodedata.normalize("NFC", unquote(name.replace("\\", "/"))).casefold()
    path = PurePosixPath(whole)
    return whole, whole.removesuffix(path.suffix), path.name, path.stem


def _nearest(name: str, folder: Path, by_form: Sequence[Mapping[str, Sequence[str]]]) -> str:
    with suppress(OSError, ValueError):
        if (folder / name).is_dir():
            return " (a folder)"
    whole, bare, last, stem = _forms(name)
    # A name that was written without its suffix may have a dot in it.
    for files, forms in zip(by_form, ((whole,), (bare, whole), (last,), (stem, last)), strict=True):
        found = {file for form in forms for file in files.get(form, ())}
        if len(found) == 1:
            near = found.pop()
            if unicodedata.normalize("NFC", near) == unicodedata.normalize("NFC", name):
                return f" (the file has the same letters in another Unicode form: {near!a})"
            return f" (did you mean {near}?)"
    return ""


def unreadable(names: Sequence[str], folder: Path, fingerprint: str) -> frozenset[str]:
    """Files that do not decode, determined once for each state of the data and kept in the cache folder."""
    paths = (folder / name for name in names)
    key = f"{fingerprint}-{TRANSFORM}"
    failing = remembered("unreadable", key, lambda: sorted(compress(names, undecodable(paths, 16))))
    return frozenset(failing)


def headers(paths: Sequence[Path]) -> list[Header]:
    """What is known of each file without its pixels; found once for each state of the files, too."""
    kept = remembered("headers", state_of(paths), lambda: on_all_cores(_header, paths))
    return [Header(*each) for each in kept]


def state_of(paths: Iterable[Path], *more: Any) -> str:
    """A digest of the states of files, and of plain data beside them."""
    content = [PIL.__version__, more, [file_stamp(path) for path in paths]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _header(path: Path) -> Header:
    try:
        return header_of(path)
    except DataError:  # it is reported when it is decoded
        return Header(0, 0)
