"""Decoded images, shared by all runs.

A study trains the same images at the same size again and again: they are decoded once, into a store on disk that
every process maps (`arrays.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import PIL
from joblib import Parallel, delayed

from trainer.errors import DataError, listed
from trainer.store.arrays import ArrayStore, Build, Layout, NoRoomError, OnProgress
from trainer.store.cache_folder import cache_dir
from trainer.store.image_files import AS_IT_IS, MODES, TRANSFORM, Pixels, Rendering, decode

MEMORY_LIMIT_BYTES = 1 << 30
_BLOCK_IMAGES = 16
_STORES_HELD = 8  # sizes of progressive resizing, rungs of a ladder, features of both sides
Item = TypeVar("Item")
Found = TypeVar("Found")


def on_all_cores(work: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """What `work` gives for each item, in their order: Pillow releases the interpreter lock while it works."""
    results: list[Found] = Parallel(n_jobs=-1, prefer="threads")(delayed(work)(item) for item in items)
    return results


def undecodable(paths: Iterable[Path], size_px: int, channels: int = 3) -> list[bool]:
    """Whether each of the files fails to decode, tried on all cores."""

    def fails(path: Path) -> bool:
        try:
            decode(path, size_px, channels, Rendering(value_range=(0.0, 1.0)))  # whatever the range, it decodes
        except DataError:
            return True
        return False

    return on_all_cores(fails, paths)


class Images(Protocol):
    """Decoded images by index.

    `cached`: all of them come from a store; `note`: a line for the user on where they come from.
    """

    paths: Sequence[Path]
    size_px: int
    rendering: Rendering
    cached: bool
    note: str

    def __getitem__(self, index: int) -> Pixels:
        """uint8 [size_px, size_px, channels], not to be written to; `DataError` names an unreadable file."""
        ...


class DecodedImages:
    """Images decoded at first use and kept in memory while they fit into the limit, in each process for itself."""

    cached = False

    def __init__(
        self,
        paths: Sequence[Path],
        size_px: int,
        limit_bytes: int = MEMORY_LIMIT_BYTES,
        note: str = "",
        channels: int = 3,
        rendering: Rendering = AS_IT_IS,
    ) -> None:
        self.paths = paths
        self.size_px = size_px
        self.note = note
        self.channels = channels
        self.rendering = rendering
        self._kept: dict[int, Pixels] = {}
        self._room = limit_bytes // (size_px * size_px * channels)

    def __getitem__(self, index: int) -> Pixels:
        pixels = self._kept.get(index)
        if pixels is None:
            pixels = decode(self.paths[index], self.size_px, self.channels, self.rendering)
            if len(self._kept) < self._room:
                self._kept[index] = pixels
        return pixels


class CachedImages:
    """Images from a store, which holds those that are `used`, in their order."""

    cached = True

    def __init__(
        self,
        paths: Sequence[Path],
        used: Sequence[int],
        size_px: int,
        rendering: Rendering,
        store: ArrayStore,
        note: str,
    ) -> None:
        self.paths = paths
        self.size_px = size_px
        self.rendering = rendering
        self.store = store
        self.note = note
        self._row_of = {index: row for row, index in enumerate(used)}

    def __getitem__(self, index: int) -> Pixels:
        row = self._row_of[index]
        try:
            return self.store[row]
        except (NoRoomError, OSError):  # damaged, and cannot be made again
            return decode(self.paths[index], self.size_px, self.store.layout.shape[-1], self.rendering)


@dataclass
class KeptOpen:
    """What a process keeps open from one run to the next: a few stores, and one data set at one size in memory."""

    stores: dict[str, ArrayStore] = field(default_factory=dict)
    decoded: dict[str, DecodedImages] = field(default_factory=dict)


KEPT = KeptOpen()  # of this process


def shared_images(
    paths: Sequence[Path],
    used: Iterable[int],
    size_px: int,
    limit_gb: float,
    progress: OnProgress | None = None,
    channels: int = 3,
    rendering: Rendering = AS_IT_IS,
) -> Images:
    """The images `used` among `paths`, from the one store that all runs share, which is built where it is missing.

    Where they need more than `limit_gb`, or cannot be written, they are decoded in every process as they are
    needed, and `note` says so. `DataError` names all that cannot be read.
    """
    rows = sorted({int(index) for index in used})
    files = [paths[row] for row in rows]
    key = images_key(files, size_px, channels, rendering)
    if limit_gb <= 0.0:
        return _in_memory(key, paths, size_px, channels, rendering, "")
    fresh = held_store(key) is None
    try:
        layout = Layout(key, len(rows), (size_px, size_px, channels), "uint8")
        build = partial(_decoded, files, size_px, channels, rendering)
        store = shared_store("images", layout, build, limit_gb, progress)
    except DataError:  # which names one of them
        bad = [str(path) for path in compress(files, undecodable(files, size_px, channels))]
        if len(bad) < 2:
            raise
        raise DataError(f"{listed(bad, 'unreadable image')}; data.bad_samples=skip leaves them out") from None
    except (NoRoomError, OSError) as error:
        note = f"{len(rows)} images are not cached at {size_px} px but decoded in every run ({error}; data.cache_gb)"
        return _in_memory(key, paths, size_px, channels, rendering, note)
    took = f"{len(rows)} images decoded at {size_px} px in {store.built_seconds:.1f} s, for all runs"
    return CachedImages(paths, rows, size_px, rendering, store, took if fresh and store.built_seconds else "")


def shared_store(
    kind: str, layout: Layout, build: Build, limit_gb: float, progress: OnProgress | None = None
) -> ArrayStore:
    """A store in the cache folder, made where it is missing; `NoRoomError` or `OSError` where it cannot be.

    A few stay open, so that rows are checked once in a process and not once a run.
    """
    limit = int(limit_gb * 1e9)
    held = held_store(layout.key)
    if held is not None:
        held.build, held.progress, held.limit_bytes = build, progress, limit  # those of the present run
        held.refresh()
        return held
    store = ArrayStore(cache_dir() / kind, layout, build, limit, progress)
    while len(KEPT.stores) >= _STORES_HELD:
        del KEPT.stores[next(iter(KEPT.stores))]
    KEPT.stores[layout.key] = store
    return store


def held_store(key: str) -> ArrayStore | None:
    """The store of this key, if this process has it open."""
    return KEPT.stores.get(key)


def _in_memory(
    key: str, paths: Sequence[Path], size_px: int, channels: int, rendering: Rendering, note: str
) -> DecodedImages:
    """Images decoded in memory, one data set and size at a time, for this run and the next ones of this process."""
    held = KEPT.decoded.get(key)
    if held is None or held.paths != paths or held.note != note:
        KEPT.decoded.clear()
        held = KEPT.decoded[key] = DecodedImages(paths, size_px, note=note, channels=channels, rendering=rendering)
    return held


def file_stamp(path: Path) -> tuple[str, int, int]:
    """The state of a file: path, size and time of change; a missing file has a state, too."""
    try:
        status = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), status.st_size, status.st_mtime_ns


def images_key(files: Sequence[Path], size_px: int, channels: int = 3, rendering: Rendering = AS_IT_IS) -> str:
    """The key of these files when decoded: from the state of each, and how they are decoded."""
    how = [TRANSFORM, PIL.__version__, MODES[channels], size_px, rendering.ground, rendering.value_range]
    content = [*how, [file_stamp(path) for path in files]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _decoded(files: Sequence[Path], size_px: int, channels: int, rendering: Rendering) -> Iterator[Pixels]:
    """Files decoded in blocks, in their order, on all cores."""

    def block(start: int) -> Pixels:
        some = files[start : start + _BLOCK_IMAGES]
        return np.stack([decode(path, size_px, channels, rendering) for path in some])

    tasks = (delayed(block)(start) for start in range(0, len(files), _BLOCK_IMAGES))
    blocks: Iterator[Pixels] = Parallel(n_jobs=-1, prefer="threads", return_as="generator")(tasks)
    return blocks
