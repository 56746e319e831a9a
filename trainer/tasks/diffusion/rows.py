"""Diffusion rows, fetched a batch at a time. A row is an image; an epoch shows it with one of its captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.splits import Indices
from trainer.data.tensors import padded
from trainer.data.vocabulary import PAD, Vocabulary
from trainer.learning.randomness import uniforms
from trainer.store.arrays import ArrayStore
from trainer.store.image_cache import Images
from trainer.task.batches import Batch, ImageRows, RowKey


def noise_keys(draws: NDArray[np.float64]) -> Tensor:
    """Uniform numbers made integers: the keys of the noise of samples."""
    return torch.from_numpy((draws * 2.0**53).astype(np.int64))


class KeptLatents:
    """A frozen autoencoder's latents by image."""

    def __init__(self, store: ArrayStore, used: Indices) -> None:
        self.store = store
        self._row_of = {image: row for row, image in enumerate(used.tolist())}

    def batch(self, images: Indices) -> Tensor:
        """float16 [images, channels, h, w]"""
        return torch.from_numpy(np.stack([self.store[self._row_of[image]] for image in images.tolist()]))


class Texts(Protocol):
    """The caption part of a batch."""

    def batch(self, captions: Sequence[str]) -> Batch: ...


@dataclass(frozen=True)
class Words:
    """Captions as word numbers, for a text encoder that is trained: `words` [batch, longest]."""

    vocabulary: Vocabulary
    length: int

    def batch(self, captions: Sequence[str]) -> Batch:
        numbers = [self.vocabulary.encode(caption)[: self.length] for caption in captions]
        return {"words": padded(numbers, self.vocabulary.word_to_idx[PAD])}


class Plain:
    """Captions as they are, for a frozen text model whose vectors are not kept."""

    def batch(self, captions: Sequence[str]) -> Batch:
        return {"captions": list(captions)}


@dataclass(frozen=True)
class Shown:
    """The image part of a batch: pixels, or latents where they are cached."""

    images: Images
    latents: KeptLatents | None = None

    def batch(self, indices: Indices) -> Batch:
        """images: uint8 [batch, side, side, 3]; or latents: float16 [batch, channels, h, w]"""
        if self.latents is not None:
            return {"latents": self.latents.batch(indices)}
        return {"images": torch.from_numpy(np.stack([self.images[index] for index in indices.tolist()]))}


@dataclass(frozen=True)
class CaptionedRows(ImageRows):
    """Images by number with all their captions, for so many `levels` of noise."""

    shown: Shown
    captions: Sequence[Sequence[str]]
    texts: Texts
    levels: int


@dataclass(frozen=True)
class TrainRows(CaptionedRows):
    """Training images by number. The random parts of a row are a function of (seed, epoch, image).

    `dropout`: share of captions left empty; `plain`: always the first caption, never an empty one.
    """

    seed: int
    dropout: float
    plain: bool

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        """As `Shown` and `Texts` say, and: levels, noise: int64 [batch], how much noise, and the key of which."""
        chosen = self.chosen(keys)
        draws = uniforms(self.seed, keys[0][0], chosen, 4)
        pairs = zip(chosen.tolist(), draws, strict=True)
        return {
            **self.shown.batch(chosen),
            **self.texts.batch([self._caption(image, *draw[2:]) for image, draw in pairs]),
            "levels": torch.from_numpy((draws[:, 0] * self.levels).astype(np.int64)),
            "noise": noise_keys(draws[:, 1]),
            "weight": len(chosen),
        }

    def _caption(self, image: int, pick: float, drop: float) -> str:
        captions = self.captions[image]
        if self.plain:
            return captions[0]
        return "" if drop < self.dropout else captions[int(pick * len(captions))]


VAL_STREAM = 1 << 41  # differs from every epoch


@dataclass(frozen=True)
class ValRows(CaptionedRows):
    """Validation images by number, each with its first caption, at noise that is a function of its number alone."""

    ranges: int

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        """As `Shown` and `Texts` say, and: levels, noise: int64 [batch, ranges], for each of so many equal ranges of
        the levels one in it, and the key of the noise; numbers: int64 [batch] of the images among all usable ones."""
        chosen = self.chosen(keys)
        captions = [self.captions[image][0] for image in chosen.tolist()]
        draws = uniforms(0, VAL_STREAM, chosen, 2 * self.ranges)
        levels = (np.arange(self.ranges) + draws[:, ::2]) / self.ranges * self.levels
        return {
            **self.shown.batch(chosen),
            **self.texts.batch(captions),
            "levels": torch.from_numpy(levels.astype(np.int64)),
            "noise": noise_keys(draws[:, 1::2]),
            "numbers": torch.from_numpy(chosen),
            "references": captions,
            "files": [str(self.shown.images.paths[image]) for image in chosen.tolist()],
            "weight": len(chosen),
        }
