"""Batches of rows: their source, their parts, and their transfer to the device."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Batch = dict[str, Any]
RowKey = tuple[int, int]  # epoch, row


class Sliced(Protocol):
    """A list, an array or a tensor."""

    def __len__(self) -> int: ...

    def __getitem__(self, some: slice, /) -> Any: ...


Items = TypeVar("Items", bound=Sliced)


class RowSource(Protocol):
    """Rows that are fetched a batch at a time. A fetch is a pure function of its keys: it carries no state."""

    def __len__(self) -> int: ...

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        """A batch of tensors; `weight` in it is the number of terms in the batch's loss (tokens, boxes, images)."""
        ...


@dataclass(frozen=True)
class ImageRows:
    """Images by their numbers, one a row: what the sources of such rows have in common."""

    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def chosen(self, keys: Sequence[RowKey]) -> NDArray[np.int64]:
        """The numbers of the images that a fetch asks for."""
        return self.rows[[row for _, row in keys]]


def in_blocks(items: Items, size: int) -> Iterator[Items]:
    """The items in successive blocks of `size`; the last may be smaller."""
    for first in range(0, len(items), size):
        yield items[first : first + size]


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


def parted(batch: Batch, sizes: Sequence[int]) -> list[Batch]:
    """A batch in parts of so many samples: its tensors and lists have a row for each, and its weight is their number.

    `whole_weight` of a part is that number in the whole batch.
    """
    pieces = {name: parts_of(value, sizes) for name, value in batch.items() if isinstance(value, Tensor | list)}
    return batches_of({**pieces, "weight": sizes, "whole_weight": [batch["weight"]] * len(sizes)})


def whole_weight(batch: Batch) -> float:
    """The weight of the whole batch, for whose gradient a loss is scaled, also where this is only a part of it."""
    weight: float = batch["whole_weight" if "whole_weight" in batch else "weight"]
    return weight


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on the device; on a CPU the batch itself."""
    if device.type == "cpu":
        return batch
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
