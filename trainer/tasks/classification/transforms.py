"""Transforms of images for a batch: pasting onto a background, the four lists, resizing.

Every draw is a function of given numbers (`randomness.uniforms`), so that a sample is a function of
(seed, epoch, image): torchvision's transforms draw from PyTorch's generator, which is seeded for each image.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from trainer.errors import ConfigError, DataError, Problem, first_line
from trainer.learning.randomness import undisturbed
from trainer.store.image_files import Pixels
from trainer.tasks.classification.config import ClassificationData
from trainer.tasks.classification.transformlist import NESTED, TRANSFORM_LISTS, parts_of_entry

DRAWS = 7  # uniform numbers for one training image
_SEEDS = 2**53
Chain = Sequence[Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class Chains:
    """The four lists, built, for images that end up at `side_px`."""

    side_px: int
    pre: Chain
    train: Chain
    val: Chain
    post: Chain

    def framed(self, image: Tensor, middle: Chain, seed: float) -> Tensor:
        """An image after the lists: [channels, any, any] → [channels, side, side]; `seed` in [0, 1) is a seed."""
        if self.pre or middle or self.post:
            torch.default_generator.manual_seed(int(seed * _SEEDS))
        image = _through("pre_transforms", self.pre, image)
        image = _through("train_augmentations" if middle is self.train else "val_augmentations", middle, image)
        if image.shape[-2:] != (self.side_px, self.side_px):
            image = F.resize(image, [self.side_px, self.side_px], antialias=True)
        return _through("post_transforms", self.post, image).contiguous()


def as_tensor(pixels: Pixels) -> Tensor:
    """uint8 [side, side, channels] → [channels, side, side], a copy."""
    return torch.tensor(pixels).permute(2, 0, 1)


def pasted(
    image: Tensor, background: Tensor, draws: Sequence[float], max_ratio: float, ground: Sequence[int]
) -> Tensor:
    """An image pasted at random on a background that is up to `max_ratio` times as wide, as large as the image was.

    image: uint8 [colours + 1, side, side], colours as they look on `ground` (a value for each) and the opacity;
    background: uint8 [colours, side, side]; draws: ratio, left, top.
    """
    side = image.shape[-1]
    ratio = 1.0 + draws[0] * (max_ratio - 1.0)
    small = max(1, round(side / ratio))
    left, top = (int(draw * (side - small + 1)) for draw in draws[1:3])
    image = F.resize(image, [small, small], antialias=True) if small != side else image
    through = 1.0 - image[-1:].float() / 255.0
    place = background[:, top : top + small, left : left + small]
    behind = torch.tensor(ground, dtype=torch.float)[:, None, None]
    blended = image[:-1].float() + through * (place.float() - behind)  # the ground goes, the background comes
    whole = background.clone()
    whole[:, top : top + small, left : left + small] = blended.round().clamp(0.0, 255.0).to(torch.uint8)
    return whole


def with_channels(image: Tensor, channels: int) -> Tensor:
    """An image with the channels of the model; opacity, the last of 2 or 4, is removed or added as full."""
    has = image.shape[0]
    if has == channels + 1:
        return image[:channels]
    if has == channels - 1:
        return torch.cat([image, torch.full_like(image[:1], 255)])
    return image


def build_chains(data: ClassificationData, side_px: int, source_px: int, channels: int) -> Chains:
    """The lists of a configuration; `ConfigError` names the entry that torchvision refuses or that does not fit."""
    pre, train, val, post = (_chain(name, getattr(data, name), side_px) for name in TRANSFORM_LISTS)
    chains = Chains(side_px, pre, train, val, post)
    probe = torch.zeros(channels, source_px, source_px, dtype=torch.uint8)
    with undisturbed():
        start = _tried("pre_transforms", pre, probe)
        for name, middle in (("train_augmentations", train), ("val_augmentations", val)):
            after = _tried(name, middle, start)
            if (after.shape[0], after.dtype) != (start.shape[0], start.dtype):
                what = f"makes {_described(after)} of {_described(start)}; what changes the kind of pixels belongs into"
                raise ConfigError([Problem(f"data.{name}", f"{what} data.pre_transforms or data.post_transforms")])
        end = _tried("post_transforms", post, F.resize(start, [side_px, side_px], antialias=True))
        if tuple(end.shape) != (channels, side_px, side_px):
            what = f"images end as {_described(end)} of {tuple(end.shape[-2:])} px, not as {channels} channels of"
            problem = Problem("data.post_transforms", f"{what} {(side_px, side_px)} px (model.in_channels)")
            raise ConfigError([problem])
    return chains


def normalisation_of(entries: Sequence[Any]) -> tuple[Sequence[float], Sequence[float]] | None:
    """Mean and deviation by channel of the last `Normalize` in a list of transforms, if there is one."""
    given = [arguments for name, arguments in map(parts_of_entry, entries) if name == "Normalize"]
    return (given[-1]["mean"], given[-1]["std"]) if given else None


def _described(image: Tensor) -> str:
    return f"{image.shape[0]} channels of {str(image.dtype).removeprefix('torch.')}"


def _through(name: str, chain: Chain, image: Tensor) -> Tensor:
    """An image after a list; `DataError` names an entry that fails although it passed the check."""
    for transform in chain:
        try:
            image = transform(image)
        except Exception as error:  # noqa: BLE001 - a transform may raise any exception
            raise DataError(f"data.{name}: {_failure(transform, image, error)}") from None
    return image


def _tried(name: str, chain: Chain, image: Tensor) -> Tensor:
    for transform in chain:
        try:
            image = _certain(transform, image)
        except Exception as error:  # noqa: BLE001 - as above
            raise ConfigError([Problem(f"data.{name}", _failure(transform, image, error))]) from None
    return image


def _failure(transform: Callable[[Tensor], Tensor], image: Tensor, error: Exception) -> str:
    where = f"{_described(image)}, {tuple(image.shape[-2:])} px"
    return f"{type(transform).__name__} fails on {where}: {first_line(error)}"


def _certain(transform: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """An image after a transform that is applied with certainty, for a check of what may happen in training.

    Of several ways to choose from, all are tried; one that makes an image of another kind goes on.
    """
    if isinstance(transform, v2.RandomChoice):
        transform(image)  # fails on invalid probabilities
        ways = [way for way, p in zip(transform.transforms, transform.p, strict=True) if p > 0.0]
        ends = [_certain(way, image) for way in ways]
        return next((end for end in ends if (end.shape, end.dtype) != (image.shape, image.dtype)), image)
    p = getattr(transform, "p", None)
    happens = isinstance(p, int | float) and p > 0.0
    if isinstance(transform, v2.Compose | v2.RandomOrder) or (isinstance(transform, v2.RandomApply) and happens):
        for inner in transform.transforms:
            image = _certain(inner, image)
        return image
    if happens:
        transform = copy.copy(transform)
        transform.p = 1.0  # type: ignore[attr-defined]
    return transform(image)


def _chain(name: str, entries: Sequence[Any], side_px: int) -> list[nn.Module]:
    return [_transform(name, entry, side_px) for entry in entries]


def _transform(where: str, entry: Any, side_px: int) -> nn.Module:
    name, given = parts_of_entry(entry)
    try:
        arguments = {key: _argument(where, name, key, value, side_px) for key, value in given.items()}
        transform: nn.Module = getattr(v2, name)(**arguments)
        return transform
    except ConfigError:
        raise  # of a transform inside this one
    except Exception as error:  # noqa: BLE001 - as above
        raise ConfigError([Problem(f"data.{where}", f"{name}: {first_line(error)}")]) from None


def _argument(where: str, name: str, key: str, value: Any, side_px: int) -> Any:
    """An argument for torchvision: names become its enumerations and PyTorch's types, parts of a side become pixels."""
    if key == NESTED:
        return _chain(where, value, side_px)
    if key in ("size", "padding"):
        return _in_pixels(value, side_px)
    named = {"interpolation": InterpolationMode, "policy": AutoAugmentPolicy, "dtype": _dtype}
    try:
        if key in named and isinstance(value, str):
            return named[key](value)
        if key == "dtype" and isinstance(value, Mapping):
            raise ValueError("one type for images, such as float32")
    except ValueError as error:
        raise ConfigError([Problem(f"data.{where}", f"{name}: {key}: {error}")]) from None
    return value


def _in_pixels(value: Any, side_px: int) -> Any:
    if isinstance(value, float):
        return max(1, round(value * side_px)) if value > 0.0 else 0
    return [_in_pixels(item, side_px) for item in value] if isinstance(value, list | tuple) else value


def _dtype(word: str) -> torch.dtype:
    dtype = getattr(torch, word.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{word!r} is no type of PyTorch's, such as float32")
    return dtype
