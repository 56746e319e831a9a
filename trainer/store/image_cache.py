"""Decoded images, shared by all runs.

A study trains the same images at the same size again and again: they are decoded once, into a store on disk that
every process maps (`arrays.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Protocol

import numpy as np
import PIL
from joblib import Parallel, delayed
from numpy.typing import NDArray
from PIL import Image

from trainer.errors import DataError, listed
from trainer.store.arrays import ArrayStore, Build, Layout, NoRoomError, OnProgress
from trainer.store.cache_folder import cache_dir

Pixels = NDArray[np.uint8]
MEMORY_LIMIT_BYTES = 1 << 30
TRANSFORM = 3  # increased whenever `decode` would give other pixels
# Pillow's modes by number of channels: the colours, and opacity where it is asked for.
MODES = {1: ("L",), 2: ("L", "A"), 3: ("RGB",), 4: ("RGB", "A")}
_BLOCK_IMAGES = 16
_STORES_HELD = 8  # sizes of progressive resizing, rungs of a ladder, features of both sides


def decode(path: Path, size_px: int, channels: int = 3) -> Pixels:
    """An image file resized to a square of `size_px`, as one of `MODES`; `DataError` names an unreadable file.

    Returns uint8 [size_px, size_px, channels]. Colours are the same with and without opacity beside them, also where
    nothing of them shows: whether a run pastes its images must not change those that it validates on.
    """
    try:
        with Image.open(path) as image:
            whole = _eight_bits(image)
            parts = [
                whole.convert("RGBA").getchannel("A") if mode == "A" else whole.convert(mode)
                for mode in MODES[channels]
            ]
            small = (part.resize((size_px, size_px), Image.Resampling.BILINEAR) for part in parts)
            return np.dstack([np.asarray(part) for part in small])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: not a readable image ({error}); data.bad_samples=skip leaves such files out"
        ) from None


def undecodable(paths: Iterable[Path], size_px: int, channels: int = 3) -> list[bool]:
    """Whether each of the files fails to decode, tried on all cores."""

    def fails(path: Path) -> bool:
        try:
            decode(path, size_px, channels)
        except DataError:
            return True
        return False

    verdicts: list[bool] = Parallel(n_jobs=-1, prefer="threads")(delayed(fails)(path) for path in paths)
    return verdicts


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey image of 16 bits with 8; Pillow's own conversion would make everything above 255 white."""
    if image.mode == "F":
        raise ValueError("floating-point grey has no fixed range: save it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))


class Images(Protocol):
    """Decoded images by index.

    `cached`: all of them come from a store; `note`: a line for the user on where they come from.
    """

    paths: Sequence[Path]
    size_px: int
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
    ) -> None:
        self.paths = paths
        self.size_px = size_px
        self.note = note
        self.channels = channels
        self._kept: dict[int, Pixels] = {}
        self._room = limit_bytes // (size_px * size_px * channels)

    def __getitem__(self, index: int) -> Pixels:
        pixels = self._kept.get(index)
        if pixels is None:
            pixels = decode(self.paths[index], self.size_px, self.channels)
            if len(self._kept) < self._room:
                self._kept[index] = pixels
        return pixels


class CachedImages:
    """Images from a store, which holds those that are `used`, in their order."""

    cached = True

    def __init__(self, paths: Sequence[Path], used: Sequence[int], size_px: int, store: ArrayStore, note: str) -> None:
        self.paths = paths
        self.size_px = size_px
        self.store = store
        self.note = note
        self._row_of = {index: row for row, index in enumerate(used)}

    def __getitem__(self, index: int) -> Pixels:
        row = self._row_of[index]
        try:
            return self.store[row]
        except (NoRoomError, OSError):  # damaged, and cannot be made again
            return decode(self.paths[index], self.size_px, self.store.layout.shape[-1])


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
) -> Images:
    """The images `used` among `paths`, from the one store that all runs share, which is built where it is missing.

    Where they need more than `limit_gb`, or cannot be written, they are decoded in every process as they are
    needed, and `note` says so. `DataError` names all that cannot be read.
    """
    rows = sorted({int(index) for index in used})
    files = [paths[row] for row in rows]
    key = images_key(files, size_px, channels)
    if limit_gb <= 0.0:
        return _in_memory(key, paths, size_px, channels, "")
    fresh = held_store(key) is None
    try:
        layout = Layout(key, len(rows), (size_px, size_px, channels), "uint8")
        store = shared_store("images", layout, partial(_decoded, files, size_px, channels), limit_gb, progress)
    except DataError:  # which names one of them
        bad = [str(path) for path in compress(files, undecodable(files, size_px, channels))]
        if len(bad) < 2:
            raise
        raise DataError(f"{listed(bad, 'unreadable image')}; data.bad_samples=skip leaves them out") from None
    except (NoRoomError, OSError) as error:
        note = f"{len(rows)} images are not cached at {size_px} px but decoded in every run ({error}; data.cache_gb)"
        return _in_memory(key, paths, size_px, channels, note)
    took = f"{len(rows)} images decoded at {size_px} px in {store.built_seconds:.1f} s, for all runs"
    return CachedImages(paths, rows, size_px, store, took if fresh and store.built_seconds else "")


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


def _in_memory(key: str, paths: Sequence[Path], size_px: int, channels: int, note: str) -> DecodedImages:
    """Images decoded in memory, one data set and size at a time, for this run and the next ones of this process."""
    held = KEPT.decoded.get(key)
    if held is None or held.paths != paths or held.note != note:
        KEPT.decoded.clear()
        held = KEPT.decoded[key] = DecodedImages(paths, size_px, note=note, channels=channels)
    return held


def file_stamp(path: Path) -> tuple[str, int, int]:
    """The state of a file: path, size and time of change; a missing file has a state, too."""
    try:
        status = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), status.st_size, status.st_mtime_ns


def images_key(files: Sequence[Path], size_px: int, channels: int = 3) -> str:
    """The key of these files when decoded: from the state of each, and how they are decoded."""
    content = [TRANSFORM, PIL.__version__, MODES[channels], size_px, [file_stamp(path) for path in files]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _decoded(files: Sequence[Path], size_px: int, channels: int) -> Iterator[Pixels]:
    """Files decoded in blocks, in their order, on all cores: Pillow releases the interpreter lock while it works."""

    def block(start: int) -> Pixels:
        return np.stack([decode(path, size_px, channels) for path in files[start : start + _BLOCK_IMAGES]])

    tasks = (delayed(block)(start) for start in range(0, len(files), _BLOCK_IMAGES))
    blocks: Iterator[Pixels] = Parallel(n_jobs=-1, prefer="threads", return_as="generator")(tasks)
    return blocks
