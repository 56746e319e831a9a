"""What a frozen part of a model computes of the data, float16: kept in a store, once for all epochs and runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.store.arrays import ArrayStore, Block, Layout, NoRoomError, OnProgress
from trainer.store.image_cache import held_store, shared_store

Compute = Callable[[slice], Block]  # some of the rows, in their order


class TooLargeError(Exception):
    """Numbers too large for float16."""


def finite(values: Tensor) -> NDArray[np.float16]:
    """float16 numbers as a store takes them; `TooLargeError` where they are infinite or none."""
    if not bool(torch.isfinite(values).all()):
        raise TooLargeError("they are too large for a float16, or no numbers")
    numbers: NDArray[np.float16] = values.contiguous().cpu().numpy()
    return numbers


def shared_outputs(
    kind: str,
    key: str,
    rows: int,
    compute: Compute,
    block: int,
    limit_gb: float,
    progress: OnProgress | None = None,
) -> tuple[ArrayStore, str] | str:
    """The store of all rows, with how long it took where it was made now; or a message why there is none.

    `compute` is called with one row for their shape, then with a `block` of rows at a time. The store outlives the run:
    what it is made of must not keep the run's model alive.
    """
    held = held_store(key)
    try:
        layout = held.layout if held else Layout(key, rows, compute(slice(0, 1)).shape[1:], "float16")
        store = shared_store(kind, layout, partial(_blocks, compute, rows, block), limit_gb, progress)
    except (NoRoomError, OSError, TooLargeError) as error:
        return str(error)
    fresh = held is None and store.built_seconds > 0.0
    return store, f"computed in {store.built_seconds:.1f} s, for all runs" if fresh else ""


def _blocks(compute: Compute, rows: int, block: int) -> Iterator[Block]:
    for first in range(0, rows, block):
        yield compute(slice(first, first + block))
