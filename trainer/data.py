"""Batches: the order of an epoch, loaders, and the way onto the device."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

Batch = dict[str, Any]
RowKey = tuple[int, int]  # epoch, row
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class RowSource(Protocol):
    """Rows that are fetched a batch at a time. A fetch is a pure function of its keys: it carries no state."""

    def __len__(self) -> int: ...

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        """A batch of tensors; `weight` in it is the number of terms in the batch's loss (tokens, boxes, images)."""
        ...


class EpochBatches(Sampler[list[RowKey]]):
    """The batches of one epoch. The order is a function of (seed, epoch); `start` skips what is done already."""

    def __init__(self, n_rows: int, batch_size: int, seed: int, shuffle: bool) -> None:
        self.n_rows, self.batch_size, self.seed, self.shuffle = n_rows, batch_size, seed, shuffle
        self.epoch = 1
        self.start = 0

    def __len__(self) -> int:
        return -(-self.n_rows // self.batch_size)

    def __iter__(self) -> Iterator[list[RowKey]]:
        rows = np.arange(self.n_rows)
        if self.shuffle:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        keys = [(self.epoch, int(row)) for row in rows]
        for first in range(self.start * self.batch_size, self.n_rows, self.batch_size):
            yield keys[first : first + self.batch_size]


class _Rows(Dataset[Batch]):
    """Gives a `RowSource` the face that `DataLoader` knows; whole batches are fetched at once."""

    def __init__(self, source: RowSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, keys: list[RowKey]) -> Batch:
        return self.source.__getitems__(keys)


def _as_fetched(batch: Any) -> Any:
    return batch


def share_of_cores() -> int:
    """How many cores are for this process: a slot says so by the number of its threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, torch.get_num_threads())


def loader_processes(asked: int) -> int:
    """How many loading processes are used: none on Windows, and no more than there are cores for."""
    return 0 if sys.platform == "win32" else min(asked, share_of_cores())


def build_loader(
    source: RowSource, batches: EpochBatches, *, num_workers: int, prefetch_factor: int, pin_memory: bool
) -> DataLoader[Batch]:
    """A loader over a source; its processes stay alive between epochs."""
    workers = loader_processes(num_workers)
    return DataLoader(
        _Rows(source),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_fetched,
        pin_memory=pin_memory,
        prefetch_factor=prefetch_factor if workers else None,
        persistent_workers=workers > 0,
        # The loader draws a base seed; from a generator of its own, so that the run's stays untouched.
        generator=torch.Generator(),
    )


def close_loader(loader: DataLoader[Batch]) -> None:
    """Ends a loader's processes now rather than at some garbage collection."""
    iterator = loader._iterator
    if iterator is not None and hasattr(iterator, "_shutdown_workers"):
        # A loading process that someone's SIGTERM ended is said as an error, also where it was to end anyway.
        with warnings.catch_warnings(), suppress(RuntimeError):
            warnings.simplefilter("ignore")
            iterator._shutdown_workers()
        loader._iterator = None


def part_sizes(samples: int, largest: int) -> list[int]:
    """Sizes of the fewest parts of at most `largest` samples, as even as can be: a rest of one sample would leave
    BatchNorm without statistics."""
    parts = -(-samples // largest)
    size, more = divmod(samples, parts)
    return [size + 1] * more + [size] * (parts - more)


def parts_of(values: Sequence[Any] | Tensor, sizes: Sequence[int]) -> list[Any]:
    """A tensor's rows, or a list's items, in successive parts of these sizes."""
    if isinstance(values, Tensor):
        return list(torch.split(values, list(sizes)))
    ends = itertools.accumulate(sizes)
    return [values[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def batches_of(pieces: Mapping[str, Sequence[Any]]) -> list[Batch]:
    """One batch for each part that the pieces come in."""
    return [dict(zip(pieces, values, strict=True)) for values in zip(*pieces.values(), strict=True)]


def normalise(images: Tensor) -> Tensor:
    """uint8 [batch, side, side, 3] → float [batch, 3, side, side] with ImageNet's mean and deviation."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device) * 255.0
    std = torch.tensor(IMAGENET_STD, device=images.device) * 255.0
    return images.float().sub_(mean).div_(std).permute(0, 3, 1, 2)  # in place: half the time


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on the device; on a CPU the batch itself."""
    if device.type == "cpu":
        return batch
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
