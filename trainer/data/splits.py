"""The images that a run trains and validates on: nested, deterministic, and split by image.

Order: usable images → `max_samples` → `data_fraction` → split → permutation → prefix. A smaller subset is
therefore a prefix of a larger one, and no image ever stands on both sides of the split. Where the data come
split already, the first two steps keep the proportion of the two sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.config.settings import RunConfig
from trainer.errors import DataError
from trainer.task.protocols import DataSummary

Indices = NDArray[np.int64]

_FRACTION, _SPLIT, _SUBSET, _VAL_SUBSET = range(4)  # one random stream each
OVERFIT_IMAGES = 10


@dataclass(frozen=True)
class Selection:
    """Indices into the usable images, in the order of the file except for `val`, and for `train` where a subset was
    asked for: those are prefixes of a permutation.

    `train_split` is the whole training side, before any subset: vocabularies are built from it.
    """

    train_split: Indices
    train: Indices
    val: Indices

    @property
    def used(self) -> Indices:
        """All images that are used."""
        return np.concatenate([self.train, self.val])

    def summary(
        self,
        words: str,
        fingerprint: str,
        skipped: int,
        warnings: Sequence[str],
        train_rows: int | None = None,
        targets: str = "",
    ) -> DataSummary:
        """These images in numbers; a training image is one row unless `train_rows` says how many all are."""
        return DataSummary(
            train_split_images=len(self.train_split),
            train_images=len(self.train),
            train_rows=len(self.train) if train_rows is None else train_rows,
            val_images=len(self.val),
            skipped=skipped,
            fingerprint=fingerprint,
            words=words,
            warnings=tuple(warnings),
            targets=targets,
        )


def select(config: RunConfig, n_images: int, held_out: int = 0) -> Selection:
    """The images of one run out of `n_images` usable ones; `DataError` where fewer than two are left.

    `held_out`: the last so many are the validation images, and `val_split` draws none.
    """
    data, training = config.data, config.training
    train_split, val = _given(config, n_images, held_out) if held_out else _drawn(config, n_images)
    if training.overfit:
        few = train_split[: training.subset_size or OVERFIT_IMAGES]
        return Selection(train_split, few, few)
    train = train_split
    if training.subset_size is not None:
        train = _permuted(train_split, training.subset_seed, _SUBSET)[: training.subset_size]
    # Permuted also where all are taken, so that what a run shows of its first ones is the same in search and in full.
    val = _permuted(val, training.subset_seed, _VAL_SUBSET)[: data.val_subset_size]
    return Selection(train_split, train, val)


def asked_too_much(config: RunConfig, chosen: Selection) -> list[str]:
    """Warnings where a larger subset was asked for than there are images."""
    asked = config.training.subset_size
    if asked is None or asked <= len(chosen.train):
        return []
    return [f"subset of {asked} images asked for, but the training split has {len(chosen.train)}: all are used"]


def _drawn(config: RunConfig, n_images: int) -> tuple[Indices, Indices]:
    """Training and validation images by `val_split`, each in the order of the file."""
    data = config.data
    kept = _fraction(config, np.arange(min(n_images, data.max_samples or n_images), dtype=np.int64), least=2)
    if len(kept) < 2:
        raise DataError(f"{len(kept)} usable image(s); at least 2 are needed, one to train and one to validate on")
    n_val = min(len(kept) - 1, max(1, round(len(kept) * data.val_split)))
    shuffled = _permuted(kept, config.split_seed, _SPLIT)
    return np.sort(shuffled[n_val:]), np.sort(shuffled[:n_val])


def _given(config: RunConfig, n_images: int, held_out: int) -> tuple[Indices, Indices]:
    """Training and validation images where they are known, each limited by its share."""
    data = config.data
    n_train = n_images - held_out
    limit = min(n_images, data.max_samples or n_images)
    n_val = min(max(1, round(held_out * limit / n_images)), limit - 1)
    n_first = min(n_train, limit - n_val)
    train, val = np.arange(n_first, dtype=np.int64), np.arange(n_train, n_train + n_val, dtype=np.int64)
    return _fraction(config, train, least=1), _fraction(config, val, least=1)


def _fraction(config: RunConfig, images: Indices, least: int) -> Indices:
    """The images of `data.data_fraction`, at least so many, in the order of the file."""
    if config.data.data_fraction >= 1.0:
        return images
    size = max(least, round(len(images) * config.data.data_fraction))
    return np.sort(_permuted(images, config.split_seed, _FRACTION)[:size])


def _permuted(values: Indices, seed: int, stream: int) -> Indices:
    return np.random.default_rng([seed, stream]).permutation(values)
