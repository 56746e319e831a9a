"""Captioning rows, fetched a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainer.cache import Images
from trainer.data import Batch, RowKey
from trainer.randomness import uniforms


def padded(captions: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Token lists → [captions, longest], padded at the end."""
    longest = max(len(caption) for caption in captions)
    table = np.full((len(captions), longest), pad, dtype=np.int64)
    for row, caption in enumerate(captions):
        table[row, : len(caption)] = caption
    return torch.from_numpy(table)


class TrainRows:
    """One row is one caption with its image, cropped at random (or in the centre where `augment` is off)."""

    def __init__(
        self,
        images: Images,
        rows: Sequence[tuple[int, Sequence[int]]],
        *,
        crop_px: int,
        seed: int,
        pad: int,
        augment: bool,
    ) -> None:
        self.images, self.rows, self.crop_px, self.seed, self.pad = images, rows, crop_px, seed, pad
        self.augment = augment

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        chosen = [self.rows[row] for _, row in keys]
        indices = np.array([image for image, _ in chosen], dtype=np.int64)
        corners = self._corners(keys[0][0], indices)
        size = self.crop_px
        pixels = np.empty((len(keys), size, size, 3), dtype=np.uint8)
        for slot, (image, (top, left)) in enumerate(zip(indices, corners, strict=True)):
            pixels[slot] = self.images[int(image)][top : top + size, left : left + size]
        captions = [caption for _, caption in chosen]
        return {
            "images": torch.from_numpy(pixels),  # uint8 [batch, side, side, 3]
            "words": padded(captions, self.pad),
            "weight": sum(len(caption) - 1 for caption in captions),
        }

    def _corners(self, epoch: int, indices: np.ndarray) -> np.ndarray:
        margin = self.images.size_px - self.crop_px
        if not self.augment:
            return np.full((len(indices), 2), margin // 2)
        return (uniforms(self.seed, epoch, indices, 2) * (margin + 1)).astype(np.int64)


class ValRows:
    """One row is one image, cropped in the centre, with all its captions."""

    def __init__(
        self,
        images: Images,
        rows: Sequence[tuple[int, Sequence[Sequence[int]], Sequence[str]]],
        *,
        crop_px: int,
        pad: int,
    ) -> None:
        self.images, self.rows, self.crop_px, self.pad = images, rows, crop_px, pad

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        chosen = [self.rows[row] for _, row in keys]
        start = (self.images.size_px - self.crop_px) // 2
        crop = slice(start, start + self.crop_px)
        pixels = np.stack([self.images[image][crop, crop] for image, _, _ in chosen])
        captions = [caption for _, group, _ in chosen for caption in group]
        return {
            "images": torch.from_numpy(pixels),
            "words": padded(captions, self.pad),  # [captions of all images, longest]
            "captions_per_image": torch.tensor([len(group) for _, group, _ in chosen]),
            "references": [list(texts) for _, _, texts in chosen],
            "files": [str(self.images.paths[image]) for image, _, _ in chosen],
            "weight": sum(len(caption) - 1 for caption in captions),
        }
