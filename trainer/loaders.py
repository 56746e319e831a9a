"""The data of a run as loaders, rebuilt where progressive resizing changes the size of the images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.utils.data import DataLoader

from trainer.config import RunConfig
from trainer.data import Batch, EpochBatches, build_loader, close_loader
from trainer.task import Task


def size_at(config: RunConfig, epoch: int) -> int:
    """Image side in an epoch, counted from 1: the last entry of `training.resize_schedule` that has begun."""
    sizes = [size for first, size in config.training.resize_schedule or () if first <= epoch]
    return sizes[-1] if sizes else config.data.image_size


class Loaders:
    """Training and validation batches at one size at a time."""

    def __init__(
        self,
        config: RunConfig,
        task: Task,
        device: torch.device,
        epoch: int,
        say: Callable[[str], None] = lambda _said: None,
    ) -> None:
        self.config, self.task, self.say = config, task, say
        self._pin = device.type == "cuda"
        self.size = 0
        self.batches: EpochBatches
        self.train: DataLoader[Batch]
        self.val: DataLoader[Batch]
        self.resize(size_at(config, epoch))

    def resize(self, size: int) -> None:
        """Makes the batches come at this size from now on."""
        if size == self.size:
            return
        self.close()
        self.size = size
        rows = self.task.open_rows(image_size=size)
        for note in filter(None, rows.notes):
            self.say(note)
        training, data = self.config.training, self.config.data
        self.batches = EpochBatches(
            len(rows.train), training.batch_size, self.config.seed, shuffle=not training.overfit
        )
        val_batches = EpochBatches(len(rows.val), training.val_batch_size or training.batch_size, 0, shuffle=False)
        build = partial(
            build_loader,
            num_workers=0 if rows.cached else data.num_workers,
            prefetch_factor=data.prefetch_factor,
            pin_memory=self._pin,
        )
        self.train, self.val = build(rows.train, self.batches), build(rows.val, val_batches)

    def close(self) -> None:
        """Ends the loading processes."""
        if self.size:
            close_loader(self.train)
            close_loader(self.val)
