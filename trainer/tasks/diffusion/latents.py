"""Latents of the images and vectors of the captions, computed once for all epochs and runs.

Two stores, float16, each named by what it depends on: the frozen part's weights, the images or captions, and what else
the last bit of a number depends on. For a trained text encoder nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.store.arrays import ArrayStore, OnProgress
from trainer.store.digests import computed_by
from trainer.store.frozen_outputs import finite, shared_outputs
from trainer.store.image_cache import images_key
from trainer.task.batches import Batch
from trainer.task.protocols import Rows
from trainer.tasks.diffusion.autoencoder import Autoencoder
from trainer.tasks.diffusion.rows import KeptLatents, TrainRows, ValRows
from trainer.tasks.diffusion.text import FrozenText

VERSION = 1  # increased whenever the same weights, images and captions would give other numbers
_BLOCK_IMAGES = 32
_BLOCK_CAPTIONS = 64

GetAutoencoder = Callable[[], Autoencoder]
GetText = Callable[[], FrozenText]


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

    def encoded(some: slice) -> NDArray[np.float16]:
        pixels = torch.from_numpy(np.stack([images[image] for image in used[some].tolist()]))
        return finite(get().encode(pixels.to(device)))

    paths = [images.paths[image] for image in used.tolist()]
    files = images_key(paths, images.size_px, rendering=images.rendering)
    key = _key("latents", get().digest, files, device)
    kept = shared_outputs("latents", key, len(used), encoded, _BLOCK_IMAGES, limit_gb, progress)
    if isinstance(kept, str):
        note = f"the autoencoder runs in every epoch: its latents are not cached ({kept})"
        return replace(rows, notes=(note,))
    store, took = kept
    shown = replace(train.shown, latents=KeptLatents(store, used))
    note = f"latents of {len(used)} rows {took}" if took else ""
    return Rows(replace(train, shown=shown), replace(val, shown=shown), cached=True, notes=(note,))


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

    def encoded(some: slice) -> NDArray[np.float16]:
        return finite(get().encode(captions[some], device))

    key = _key("texts", get().digest, captions, device)
    kept = shared_outputs("texts", key, len(captions), encoded, _BLOCK_CAPTIONS, limit_gb, progress)
    if isinstance(kept, str):
        note = f"the text model runs in every epoch: its vectors are not cached ({kept})"
        return replace(rows, notes=(*rows.notes, note)), None
    store, took = kept
    texts = KeptTexts(store, captions)
    note = f"vectors of {len(captions)} captions {took}" if took else ""
    notes = (*rows.notes, note)
    return Rows(replace(train, texts=texts), replace(val, texts=texts), rows.cached, notes), texts


def _key(kind: str, weights: str, items: object, device: torch.device) -> str:
    """A key for everything that the numbers depend on; see `computed_by`."""
    depends_on = [VERSION, kind, weights, items, computed_by(device)]
    return hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:32]


def _sides(rows: Rows) -> tuple[TrainRows, ValRows]:
    assert isinstance(rows.train, TrainRows)
    assert isinstance(rows.val, ValRows)
    return rows.train, rows.val
