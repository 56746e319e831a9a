"""Pictures of a batch for a person to look at: what a task shows of its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]
_CHANNELS, _SMALLEST_PX = (1, 3, 4), 8


@dataclass(frozen=True)
class Marked:
    """A box in a picture, xyxy as parts of its sides, and its name."""

    box: tuple[float, float, float, float]
    name: str


@dataclass(frozen=True)
class DataPicture:
    """One sample as the model gets it: uint8 [height, width, 1, 3 or 4], or no pixels where it has none; the last of 4
    is opacity. `texts` stand beside it: labels, captions."""

    pixels: Pixels | None
    texts: Sequence[str] = ()
    boxes: Sequence[Marked] = ()


@dataclass(frozen=True)
class Census:
    """What there is in the data of a run: `counts`, such as of classes, each in training and in validation; the files
    of the images that are used."""

    counts: Mapping[str, tuple[int, int]]
    files: Sequence[Path] = ()


def pixels_of(images: Tensor, mean: Sequence[float] = (), std: Sequence[float] = ()) -> list[Pixels]:
    """A batch of images, their channels first or last, as pixels: bytes as they are, numbers by their range.

    `mean` and `std` by channel undo a normalisation of values from 0 to 1; without them those from 0 to 1 or from -1
    to 1 are taken as such, and any others are spread over black to white.
    """
    images = images.detach().cpu()
    if images.shape[-1] not in _CHANNELS or images.shape[1] in _CHANNELS:
        images = images.movedim(1, -1)
    if images.dtype != torch.uint8:
        images = images.float()
        if mean:
            images = images * torch.tensor(std) + torch.tensor(mean)
        else:
            low, high = float(images.min()), float(images.max())
            if low >= -1.0 and high <= 1.0:
                low, high = (0.0 if low >= 0.0 else -1.0), 1.0
            images = (images - low) / max(high - low, 1e-12)
        images = images.mul(255.0).round().nan_to_num().clamp(0, 255).to(torch.uint8)
    return [image[..., 0:1].numpy() if image.shape[-1] == 2 else image.numpy() for image in images]


def pictures_of(batch: Mapping[str, Any]) -> list[DataPicture]:
    """The samples of a batch whose entries nobody has described: its images, and what else there is of each sample."""
    images = next((value for value in batch.values() if _is_images(value)), None)
    if images is None:
        return []
    number = len(images)
    texts = {
        name: value
        for name, value in batch.items()
        if isinstance(value, list) or (isinstance(value, Tensor) and value.ndim == 1)
        if len(value) == number
    }
    return [
        DataPicture(pixels, [f"{name}: {_plain(value[place])}" for name, value in texts.items()])
        for place, pixels in enumerate(pixels_of(images))
    ]


def described(batch: Mapping[str, Any]) -> list[str]:
    """A line on each entry of a batch."""
    told = []
    for name, value in batch.items():
        if isinstance(value, Tensor):
            told.append(f"{name}: {str(value.dtype).removeprefix('torch.')} {list(value.shape)}")
        else:
            told.append(f"{name}: {type(value).__name__} {len(value) if hasattr(value, '__len__') else value}")
    return told


def _is_images(value: Any) -> bool:
    if not isinstance(value, Tensor) or value.ndim != 4 or value.is_complex():
        return False
    sides = value.shape[1:3] if value.shape[-1] in _CHANNELS else value.shape[2:]
    return (value.shape[1] in _CHANNELS or value.shape[-1] in _CHANNELS) and min(sides) >= _SMALLEST_PX


def _plain(value: Any) -> Any:
    return f"{value.item():g}" if isinstance(value, Tensor) else value
