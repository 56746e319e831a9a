"""Captioning rows, fetched a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.splits import Indices
from trainer.data.tensors import padded
from trainer.learning.randomness import uniforms
from trainer.store.arrays import ArrayStore
from trainer.store.image_cache import Images
from trainer.task import batches
from trainer.task.batches import Batch, RowKey, parts_of

CROPS_STREAM = 1 << 40  # differs from every epoch


@dataclass(frozen=True)
class Crops:
    """The places of crops of `crop_px` in images of `source_px`.

    `fixed` crops an image, drawn once under `seed`, of which an epoch takes one; 0 draws anew in every
    epoch; without a seed they lie in the centre.
    """

    crop_px: int
    source_px: int
    fixed: int
    seed: int | None

    @property
    def margin(self) -> int:
        return self.source_px - self.crop_px

    def corners(self, images: Indices, picks: Indices) -> Indices:
        """Top and left of the fixed crop `picks` of each image: [images, 2]."""
        if self.seed is None:
            return np.full((len(images), 2), self.margin // 2)
        places = np.empty((len(images), 2))
        for pick in np.unique(picks):
            at = picks == pick
            places[at] = uniforms(self.seed, CROPS_STREAM + int(pick), images[at], 2)
        return (places * (self.margin + 1)).astype(np.int64)

    def drawn(self, seed: int, epoch: int, images: Indices) -> tuple[Indices, Indices]:
        """An epoch's corners, and which of the fixed crops they are (0 where none is fixed)."""
        if not self.fixed:
            draws = uniforms(seed, epoch, images, 2)
            return (draws * (self.margin + 1)).astype(np.int64), np.zeros(len(images), dtype=np.int64)
        picks = (uniforms(seed, epoch, images, 1)[:, 0] * self.fixed).astype(np.int64)
        return self.corners(images, picks), picks

    def cut(self, images: Images, indices: Indices, corners: Indices) -> NDArray[np.uint8]:
        """The crops as one array: uint8 [indices, crop_px, crop_px, 3]."""
        size = self.crop_px
        pixels = np.empty((len(indices), size, size, 3), dtype=np.uint8)
        for slot, (image, (top, left)) in enumerate(zip(indices.tolist(), corners.tolist(), strict=True)):
            pixels[slot] = images[image][top : top + size, left : left + size]
        return pixels


class CropFeatures:
    """A frozen encoder's features by image and crop.

    From row `first` of the store on, `crops` for each image `used`, in their order.
    """

    def __init__(self, store: ArrayStore, first: int, used: Indices, crops: int) -> None:
        self.store, self.crops = store, crops
        self._row_of = {image: first + place * crops for place, image in enumerate(used.tolist())}

    def batch(self, images: Indices, picks: Indices) -> Tensor:
        """float16 [images, channels, h, w], with the channels last in memory as convolutions leave them."""
        pairs = zip(images.tolist(), picks.tolist(), strict=True)
        rows = [self.store[self._row_of[image] + pick] for image, pick in pairs]
        return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Seen:
    """The image part of a batch: pixels, or features where they are cached."""

    images: Images
    crops: Crops
    features: CropFeatures | None = None

    def batch(self, indices: Indices, corners: Indices, picks: Indices) -> Batch:
        """images: uint8 [batch, side, side, 3]; or features: float16 [batch, channels, h, w]"""
        if self.features is not None:
            return {"features": self.features.batch(indices, picks)}
        return {"images": torch.from_numpy(self.crops.cut(self.images, indices, corners))}


@dataclass(frozen=True)
class TrainRows:
    """One row is one caption with its image."""

    seen: Seen
    rows: Sequence[tuple[int, Sequence[int]]]
    pad: int
    seed: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        chosen = [self.rows[row] for _, row in keys]
        indices = np.array([image for image, _ in chosen], dtype=np.int64)
        captions = [caption for _, caption in chosen]
        return {
            **self.seen.batch(indices, *self.seen.crops.drawn(self.seed, keys[0][0], indices)),
            "words": padded(captions, self.pad),
            "weight": sum(len(caption) - 1 for caption in captions),
        }


@dataclass(frozen=True)
class ValRows:
    """One row is one image with all its captions."""

    seen: Seen
    rows: Sequence[tuple[int, Sequence[Sequence[int]], Sequence[str]]]
    pad: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        chosen = [self.rows[row] for _, row in keys]
        indices = np.array([image for image, _, _ in chosen], dtype=np.int64)
        captions = [caption for _, group, _ in chosen for caption in group]
        return {
            **self.seen.batch(indices, *self.seen.crops.drawn(0, keys[0][0], indices)),
            "words": padded(captions, self.pad),  # [captions of all images, longest]
            "captions_per_image": torch.tensor([len(group) for _, group, _ in chosen]),
            "references": [list(texts) for _, _, texts in chosen],
            "files": [str(self.seen.images.paths[image]) for image, _, _ in chosen],
            "weight": sum(len(caption) - 1 for caption in captions),
        }


def parted(batch: Batch, sizes: Sequence[int], pad: int) -> list[Batch]:
    """A batch of training or validation rows in parts of so many images.

    Captions stay padded to the longest of the whole batch; `whole_weight` is that batch's weight.
    """
    captions = list(sizes)
    if "captions_per_image" in batch:
        captions = [int(group.sum()) for group in batch["captions_per_image"].split(list(sizes))]
    parts = batches.parted({name: value for name, value in batch.items() if name != "words"}, sizes)
    for part, words in zip(parts, parts_of(batch["words"], captions), strict=True):
        # A caption's first word is given, not predicted.
        part |= {"words": words, "weight": int((words[:, 1:] != pad).sum())}
    return parts
