"""What is worth keeping between runs: the cache folder, and decoded images shared by the runs of one process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.errors import DataError

Pixels = NDArray[np.uint8]
MEMORY_LIMIT_BYTES = 1 << 30


def cache_dir() -> Path:
    """`$RUNGWISE_CACHE`, else `$XDG_CACHE_HOME/rungwise`, else `~/.cache/rungwise`."""
    named = os.environ.get("RUNGWISE_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rungwise"


def decode(path: Path, size_px: int) -> Pixels:
    """An image file squeezed to a square of `size_px`, RGB; `DataError` names an unreadable file.

    Returns uint8 [size_px, size_px, 3].
    """
    try:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((size_px, size_px), Image.Resampling.BILINEAR)
            return np.asarray(small)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: not a readable image ({error}); data.bad_samples=skip leaves such files out"
        ) from None


class DecodedImages:
    """Images by index, decoded at first use and kept while they fit into the memory limit."""

    def __init__(self, paths: Sequence[Path], size_px: int, limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self.paths = paths
        self.size_px = size_px
        self._kept: dict[int, Pixels] = {}
        self._room = limit_bytes // (size_px * size_px * 3)

    def __getitem__(self, index: int) -> Pixels:
        pixels = self._kept.get(index)
        if pixels is None:
            pixels = decode(self.paths[index], self.size_px)
            if len(self._kept) < self._room:
                self._kept[index] = pixels
        return pixels


_shared: dict[tuple[str, int], DecodedImages] = {}


def shared_images(fingerprint: str, paths: Sequence[Path], size_px: int) -> DecodedImages:
    """The decoded images of one data set at one size; one data set and size at a time stay in memory.

    A study trains the same images again and again, so what one trial decoded serves the next. The key is the
    data's fingerprint (a changed file changes it) with the list itself (skipping bad files changes that).
    """
    key = (fingerprint, size_px)
    if key not in _shared or _shared[key].paths != paths:
        _shared.clear()
        _shared[key] = DecodedImages(paths, size_px)
    return _shared[key]
