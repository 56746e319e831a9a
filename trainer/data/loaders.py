"""The loaders of a run, rebuilt where progressive resizing changes the size of the images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.utils.data import DataLoader

from trainer.config.settings import RunConfig
from trainer.data.batches import EpochBatches, build_loader, close_loader
from trainer.store.arrays import OnProgress
from trainer.task.batches import Batch
from trainer.task.checks import given
from trainer.task.protocols import Rows, Task


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
        on_progress: OnProgress | None = None,
    ) -> None:
        self.config, self.task, self.say, self.on_progress = config, task, say, on_progress
        self._pin = device.type == "cuda"
        self._model: nn.Module | None = None
        self.size = 0
        self.value_range: tuple[float, float] | None = None
        self.rows: Rows
        self.batches: EpochBatches
        self.train: DataLoader[Batch]
        self.val: DataLoader[Batch]
        self.resize(size_at(config, epoch))

    def use(self, model: nn.Module) -> None:
        """From now on batches hold the outputs of the model's frozen part, where these are cached."""
        self._model = model
        self._precompute()

    def resize(self, size: int) -> None:
        """Rebuilds the loaders for another image size."""
        if size == self.size:
            return
        self.close()
        self.size = size
        rows = self.task.open_rows(image_size=size, progress=self.on_progress)
        self._open(given(self.config.task, "open_rows", rows, Rows))
        self.value_range = rows.value_range
        self._precompute()

    def _precompute(self) -> None:
        if self._model is None:
            return
        rows = self.task.precompute(self._model, self.rows, self.on_progress)
        if rows is not self.rows:
            self.close()
            self._open(rows)

    def _open(self, rows: Rows) -> None:
        for note in filter(None, rows.notes):
            self.say(note)
        self.rows = rows
        training, data = self.config.training, self.config.data
        self.batches = EpochBatches(
            len(rows.train), training.batch_size, self.config.seed, shuffle=not training.overfit
        )
        self.val_rows = len(rows.val)
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
