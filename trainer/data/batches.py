"""The batches of an epoch in their order, and the loaders that fetch them."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from trainer.task.batches import Batch, RowKey, RowSource


class EpochBatches(Sampler[list[RowKey]]):
    """The batches of one epoch. The order is a function of (seed, epoch); `start` skips what is done already."""

    def __init__(self, n_rows: int, batch_size: int, seed: int, shuffle: bool) -> None:
        self.n_rows, self.batch_size, self.seed, self.shuffle = n_rows, batch_size, seed, shuffle
        self.epoch = 1
        self.start = 0

    def __len__(self) -> int:
        return -(-self.n_rows // self.batch_size)

    def rows_in(self, batch: int) -> int:
        """The number of rows in a batch, counted from 0: the last may have fewer than the others."""
        return min(self.batch_size, self.n_rows - batch * self.batch_size)

    def __iter__(self) -> Iterator[list[RowKey]]:
        rows = np.arange(self.n_rows)
        if self.shuffle:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        keys = [(self.epoch, int(row)) for row in rows]
        for first in range(self.start * self.batch_size, self.n_rows, self.batch_size):
            yield keys[first : first + self.batch_size]


def _as_fetched(batch: Any) -> Any:
    return batch


def share_of_cores() -> int:
    """The number of cores for this process: a slot sets it as the number of threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, torch.get_num_threads())


def loader_processes(asked: int) -> int:
    """The number of loading processes: none on Windows, and no more than there are cores."""
    return 0 if sys.platform == "win32" else min(asked, share_of_cores())


def build_loader(
    source: RowSource, batches: EpochBatches, *, num_workers: int, prefetch_factor: int, pin_memory: bool
) -> DataLoader[Batch]:
    """A loader over a source; its processes stay alive between epochs."""
    workers = loader_processes(num_workers)
    return DataLoader(
        cast("Dataset[Batch]", source),  # of which a loader takes `__getitems__`: whole batches at once
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_fetched,
        pin_memory=pin_memory,
        prefetch_factor=prefetch_factor if workers else None,
        persistent_workers=workers > 0,
        # The loader draws a base seed, from a generator of its own, so that the run's generator is unchanged.
        generator=torch.Generator(),
    )


def close_loader(loader: DataLoader[Batch]) -> None:
    """Ends a loader's processes now rather than at some garbage collection."""
    iterator = loader._iterator
    if iterator is not None and hasattr(iterator, "_shutdown_workers"):
        # PyTorch reports a loading process that a SIGTERM ended as an error, even one that is about to end.
        with warnings.catch_warnings(), suppress(RuntimeError):
            warnings.simplefilter("ignore")
            iterator._shutdown_workers()
        loader._iterator = None
