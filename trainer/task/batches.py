"""Batches of rows: their source, their parts, and their transfer to the device."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

Batch = dict[str, Any]
RowKey = tuple[int, int]  # epoch, row


class RowSource(Protocol):
    """Rows that are fetched a batch at a time. A fetch is a pure function of its keys: it carries no state."""

    def __len__(self) -> int: ...

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        """A batch of tensors; `weight` in it is the number of terms in the batch's loss (tokens, boxes, images)."""
        ...


def part_sizes(samples: int, largest: int) -> list[int]:
    """Sizes of the fewest parts of at most `largest` samples, as even as possible.

    A last part of one sample would leave BatchNorm without statistics."""
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


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on the device; on a CPU the batch itself."""
    if device.type == "cpu":
        return batch
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
