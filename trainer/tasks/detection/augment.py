"""Images and boxes placed in a square: deterministic for validation, augmented for training.

Every draw is a given number (`randomness.uniforms`), so that a sample is a function of (seed, epoch, image).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.ops import box_area, box_convert
from torchvision.transforms.v2 import functional as F

from trainer.store.image_files import Pixels
from trainer.tasks.detection.config import AugmentSettings

Layout = Literal["stretch", "letterbox"]
DRAWS = 11  # uniform numbers for one sample
GREY = 114  # grey of letterbox borders


@dataclass(frozen=True)
class Picture:
    """An image as in the cache, resized to a square.

    pixels: uint8 [source, source, 3]; boxes: xyxy as parts of the picture [n, 4]; labels: [n]; aspect: how many
    times as wide as high the file is.
    """

    pixels: Pixels
    boxes: Tensor
    labels: Tensor
    aspect: float


@dataclass(frozen=True)
class Place:
    """The place of an image in its square, in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Sample:
    """pixels: uint8 [3, side, side]; boxes: cxcywh in [0, 1] [n, 4]; labels: [n]."""

    pixels: Tensor
    boxes: Tensor
    labels: Tensor
    place: Place


def place_in(side: int, aspect: float, layout: Layout) -> Place:
    """The place of an image `aspect` times as wide as high in a square of `side` pixels."""
    if layout == "stretch":
        return Place(0, 0, side, side)
    width = max(1, round(side * min(1.0, aspect)))
    height = max(1, round(side * min(1.0, 1.0 / aspect)))
    return Place((side - width) // 2, (side - height) // 2, width, height)


def framed(picture: Picture, side: int, layout: Layout) -> Sample:
    """An image at its place in a square of `side` pixels."""
    image = torch.tensor(picture.pixels).permute(2, 0, 1)
    return _fitted(image, _boxes_of(picture), picture.labels, place_in(side, picture.aspect, layout), side)


def augmented(picture: Picture, side: int, layout: Layout, settings: AugmentSettings, draws: Sequence[float]) -> Sample:
    """As `framed`, with a change of colours, a crop and a mirror image, as `draws` (DRAWS of them) say."""
    image = _coloured(torch.tensor(picture.pixels).permute(2, 0, 1), settings, draws[:4])
    boxes, labels, aspect = _boxes_of(picture), picture.labels, picture.aspect
    if draws[4] < settings.crop_p:
        top, left, height, width = crop_window(image.shape[-1], settings, draws[5:9])
        image = F.crop(image, top, left, height, width)
        inside = F.crop(boxes, top, left, height, width)
        seen = box_area(inside)
        keep = (seen > 0) & (seen >= settings.min_visible * box_area(boxes))
        boxes, labels = tv_tensors.wrap(inside[keep], like=inside), labels[keep]
        aspect = aspect * width / height
    for chance, axis, flip in (
        (settings.hflip_p, 9, F.horizontal_flip),
        (settings.vflip_p, 10, F.vertical_flip),
    ):
        if draws[axis] < chance:
            image, boxes = flip(image), flip(boxes)
    return _fitted(image, boxes, labels, place_in(side, aspect, layout), side)


def crop_window(source: int, settings: AugmentSettings, draws: Sequence[float]) -> tuple[int, int, int, int]:
    """Top, left, height and width of a crop from a square of `source` pixels."""
    share = settings.crop_min_area + draws[0] * (1.0 - settings.crop_min_area)
    ratio = math.exp((2.0 * draws[1] - 1.0) * math.log(settings.crop_max_ratio))
    width = max(1, round(source * min(1.0, math.sqrt(share * ratio))))
    height = max(1, round(source * min(1.0, math.sqrt(share / ratio))))
    left, top = int(draws[2] * (source - width + 1)), int(draws[3] * (source - height + 1))
    return top, left, height, width


def _coloured(image: Tensor, settings: AugmentSettings, draws: Sequence[float]) -> Tensor:
    for draw, strength, adjust in (
        (draws[0], settings.brightness, F.adjust_brightness),
        (draws[1], settings.contrast, F.adjust_contrast),
        (draws[2], settings.saturation, F.adjust_saturation),
    ):
        if strength > 0.0:
            image = adjust(image, 1.0 + (2.0 * draw - 1.0) * strength)
    if settings.hue > 0.0:
        image = F.adjust_hue(image, (2.0 * draws[3] - 1.0) * settings.hue)
    return image


def _boxes_of(picture: Picture) -> tv_tensors.BoundingBoxes:
    """The boxes of a picture in its pixels."""
    source = picture.pixels.shape[0]
    return tv_tensors.BoundingBoxes(picture.boxes * source, format="XYXY", canvas_size=(source, source))


def _fitted(image: Tensor, boxes: tv_tensors.BoundingBoxes, labels: Tensor, place: Place, side: int) -> Sample:
    """Image [3, height, width] and boxes in its pixels, resized to their place and padded to the square."""
    size = [place.height, place.width]
    borders = [
        place.left,
        place.top,
        side - place.width - place.left,
        side - place.height - place.top,
    ]
    image = F.pad(F.resize(image, size, antialias=True), borders, fill=GREY)
    moved = F.pad(F.resize(boxes, size), borders).as_subclass(Tensor)
    return Sample(image.contiguous(), box_convert(moved.float() / side, "xyxy", "cxcywh"), labels, place)
