"""Features of images from a frozen encoder, computed once for all epochs and runs.

The feature map before the pool, float16, of each fixed crop, in one store for training and validation. Its key is
the encoder's weights, the images, the crops, and what else decides about the last bit of a number.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.splits import Indices
from trainer.data.tensors import normalise
from trainer.store.arrays import OnProgress
from trainer.store.digests import computed_by, weights_digest
from trainer.store.frozen_outputs import finite, shared_outputs
from trainer.store.image_cache import images_key
from trainer.task.protocols import Rows
from trainer.tasks.captioning.model import Encoder
from trainer.tasks.captioning.rows import CropFeatures, Seen, TrainRows, ValRows

VERSION = 1  # increased whenever the same weights and crops would give other features
_BLOCK_CROPS = 32


def with_features(encoder: Encoder, rows: Rows, limit_gb: float, progress: OnProgress | None = None) -> Rows:
    """The rows with features in place of pixels, where these fit into the cache; a note reports what was done."""
    train, val = rows.train, rows.val
    assert isinstance(train, TrainRows)
    assert isinstance(val, ValRows)
    both: tuple[TrainRows | ValRows, ...] = (train, val)
    used = [np.unique(np.array([row[0] for row in side.rows], dtype=np.int64)) for side in both]
    work = _Encoding(encoder, [side.seen for side in both], used)
    key = work.key(weights_digest(encoder.backbone))
    kept = shared_outputs("features", key, len(work.images), work, _BLOCK_CROPS, limit_gb, progress)
    if isinstance(kept, str):
        note = f"the frozen encoder runs in every epoch: its features are not cached ({kept})"
        return replace(rows, notes=(note,))
    store, took = kept
    sides: list[TrainRows | ValRows] = []
    first = 0
    for side, images in zip(both, used, strict=True):
        crops = side.seen.crops.fixed
        sides.append(replace(side, seen=replace(side.seen, features=CropFeatures(store, first, images, crops))))
        first += len(images) * crops
    return Rows(sides[0], sides[1], cached=True, notes=(f"features of {first} crops {took}",) if took else ())


class _Encoding:
    """The frozen backbone over the fixed crops of the images of several sides."""

    def __init__(self, encoder: Encoder, sides: Sequence[Seen], used: Sequence[Indices]) -> None:
        # The store outlives the run, and must not keep the run's model alive.
        self.backbone = weakref.ref(encoder.backbone.eval())
        self.device = encoder.project.weight.device
        self.source, self.crops = sides[0].images, sides[0].crops
        images, corners = [], []
        for side, of in zip(sides, used, strict=True):
            fixed = side.crops.fixed
            images.append(of.repeat(fixed))
            corners.append(side.crops.corners(images[-1], np.tile(np.arange(fixed), len(of))))
        self.images, self.corners = np.concatenate(images), np.concatenate(corners)

    def key(self, weights: str) -> str:
        """A key for everything that the features depend on; see `computed_by`."""
        chosen, places = np.unique(self.images, return_inverse=True)
        files = [self.source.paths[image] for image in chosen.tolist()]
        images = images_key(files, self.source.size_px, rendering=self.source.rendering)
        where = computed_by(self.device)
        digest = hashlib.sha256(json.dumps([VERSION, weights, images, self.crops.crop_px, where]).encode())
        digest.update(places.astype("<i8").tobytes() + self.corners.astype("<i8").tobytes())
        return digest.hexdigest()[:32]

    def __call__(self, some: slice) -> NDArray[np.float16]:
        """The feature maps of some crops: [crops, height, width, channels]."""
        backbone = self.backbone()
        assert backbone is not None, "features are only read while the model is alive"
        pixels = torch.from_numpy(self.crops.cut(self.source, self.images[some], self.corners[some]))
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            maps = backbone(normalise(pixels.to(self.device))).half()
        return finite(maps.permute(0, 2, 3, 1))
