"""Latents of the images and vectors of the captions, computed once for all epochs and runs.

Two stores, float16, each named by what it depends on: the frozen part's weights, the images or captions, and what else
the last bit of a number depends on. For a trained text encoder nothing is kept.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.splits import Indices
from trainer.store.arrays import ArrayStore, Block, Layout, NoRoomError, OnProgress
from trainer.store.digests import computed_by
from trainer.store.image_cache import held_store, images_key, shared_store
from trainer.task.batches import Batch
from trainer.task.protocols import Rows
from trainer.tasks.diffusion.autoencoder import Autoencoder
from trainer.tasks.diffusion.rows import TrainRows, ValRows
from trainer.tasks.diffusion.text import FrozenText

VERSION = 1  # increased whenever the same weights, images and captions would give other numbers
_BLOCK_IMAGES = 32
_BLOCK_CAPTIONS = 64

GetAutoencoder = Callable[[], Autoencoder]
GetText = Callable[[], FrozenText]


class KeptLatents:
    """Latents by image."""

    def __init__(self, store: ArrayStore, used: Indices) -> None:
        self.store = store
        self._row_of = {image: row for row, image in enumerate(used.tolist())}

    def batch(self, images: Indices) -> Tensor:
        """float16 [images, channels, h, w]"""
        return torch.from_numpy(np.stack([self.store[self._row_of[image]] for image in images.tolist()]))


class KeptTexts:
    """Vectors by caption."""

    def __init__(self, store: ArrayStore, captions: Sequence[str]) -> None:
        self.store = store
        self._row_of = {caption: row for row, caption in enumerate(captions)}

    def has(self, captions: Sequence[str]) -> bool:
        return all(caption in self._row_of for caption in captions)

    def batch(self, captions: Sequence[str]) -> Batch:
        """vectors: float16 [captions, tokens, width], zeros behind the last token"""
        return {"vectors": torch.from_numpy(np.stack([self.store[self._row_of[caption]] for caption in captions]))}


def with_latents(
    get: GetAutoencoder, rows: Rows, device: torch.device, limit_gb: float, progress: OnProgress | None = None
) -> Rows:
    """The rows with latents in place of pixels, where these fit into the cache; a note reports what was done.

    `get` gives the autoencoder: the store outlives the run, and must not keep it alive.
    """
    train, val = _sides(rows)
    images = train.shown.images
    used = np.unique(np.concatenate([train.rows, val.rows]))

    def encoded(some: Indices) -> NDArray[np.float16]:
        pixels = torch.from_numpy(np.stack([images[image] for image in some.tolist()]))
        return _finite(get().encode(pixels.to(device)))

    depends_on = [images_key([images.paths[image] for image in used.tolist()], images.size_px)]
    kept = _kept("latents", [get().digest, *depends_on], used, encoded, _BLOCK_IMAGES, device, limit_gb, progress)
    if isinstance(kept, str):
        note = f"the autoencoder runs in every epoch: its latents are not cached ({kept})"
        return replace(rows, notes=(note,))
    store, note = kept
    sides: list[TrainRows | ValRows] = []
    for side in (train, val):
        known = copy.copy(side)
        known.shown = copy.copy(side.shown)
        known.shown.latents = KeptLatents(store, used)
        sides.append(known)
    note = f"latents of {note}" if note else ""
    return Rows(sides[0], sides[1], cached=True, notes=(note,))


def with_texts(
    get: GetText,
    rows: Rows,
    prompts: Sequence[str],
    device: torch.device,
    limit_gb: float,
    progress: OnProgress | None = None,
) -> tuple[Rows, KeptTexts | None]:
    """The rows with vectors in place of captions, in the same way, and the vectors, also those of `prompts`."""
    train, val = _sides(rows)
    used = dict.fromkeys(("", *prompts))
    for image in np.unique(np.concatenate([train.rows, val.rows])).tolist():
        used.update(dict.fromkeys(train.captions[image]))
    captions = list(used)

    def encoded(some: Indices) -> NDArray[np.float16]:
        return _finite(get().encode([captions[n] for n in some.tolist()], device))

    everything = np.arange(len(captions), dtype=np.int64)
    kept = _kept("texts", [get().digest, captions], everything, encoded, _BLOCK_CAPTIONS, device, limit_gb, progress)
    if isinstance(kept, str):
        note = f"the text model runs in every epoch: its vectors are not cached ({kept})"
        return replace(rows, notes=(*rows.notes, note)), None
    store, note = kept
    texts = KeptTexts(store, captions)
    sides: list[TrainRows | ValRows] = []
    for side in (train, val):
        known = copy.copy(side)
        known.texts = texts
        sides.append(known)
    note = note.replace("rows", "captions")
    return Rows(sides[0], sides[1], rows.cached, (*rows.notes, f"vectors of {note}" if note else "")), texts


def _kept(
    kind: str,
    depends_on: Sequence[object],
    items: Indices,
    encoded: Callable[[Indices], Block],
    block: int,
    device: torch.device,
    limit_gb: float,
    progress: OnProgress | None,
) -> tuple[ArrayStore, str] | str:
    """The store of these items with a note on its time; or a message why there is none."""
    key = hashlib.sha256(json.dumps([VERSION, kind, *depends_on, computed_by(device)]).encode()).hexdigest()[:32]
    held = held_store(key)
    try:
        layout = held.layout if held else Layout(key, len(items), encoded(items[:1]).shape[1:], "float16")
        store = shared_store(kind, layout, partial(_blocks, items, encoded, block), limit_gb, progress)
    except (NoRoomError, OSError, _TooLargeError) as error:
        return str(error)
    fresh = held is None and store.built_seconds > 0.0
    return store, f"{layout.rows} rows computed in {store.built_seconds:.1f} s, for all runs" if fresh else ""


def _blocks(items: Indices, encoded: Callable[[Indices], Block], block: int) -> Iterator[Block]:
    for first in range(0, len(items), block):
        yield encoded(items[first : first + block])


class _TooLargeError(Exception):
    """Numbers too large for float16."""


def _finite(values: Tensor) -> NDArray[np.float16]:
    if not bool(torch.isfinite(values).all()):
        raise _TooLargeError("they are too large for a float16, or no numbers")
    numbers: NDArray[np.float16] = values.contiguous().cpu().numpy()
    return numbers


def _sides(rows: Rows) -> tuple[TrainRows, ValRows]:
    assert isinstance(rows.train, TrainRows)
    assert isinstance(rows.val, ValRows)
    return rows.train, rows.val
