"""Detection rows, fetched a batch at a time. A row is an image, with or without boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_convert

from trainer.learning.randomness import uniforms
from trainer.store.image_cache import Images
from trainer.task.batches import Batch, ImageRows, RowKey, batches_of, parts_of
from trainer.tasks.detection.augment import DRAWS, Layout, Picture, Sample, augmented, framed
from trainer.tasks.detection.coco import Objects
from trainer.tasks.detection.config import AugmentSettings

# Tensors with a row for each object of all images, and the list of how many each image has.
_COUNTED_BY = {"boxes": "counts", "labels": "counts", "truth": "truth_counts"}


@dataclass(frozen=True)
class Annotated:
    """Images, their (width, height) in pixels of the file, and their annotations."""

    images: Images
    sizes: Sequence[tuple[int, int]]
    objects: Sequence[Objects]

    def picture(self, image: int) -> Picture:
        """An image with its boxes for training; crowds are left out."""
        objects, (width, height) = self.objects[image], self.sizes[image]
        kept = ~objects.crowd
        boxes = box_convert(torch.from_numpy(objects.boxes[kept]), "xywh", "xyxy")
        parts = (boxes / torch.tensor([width, height, width, height])).float()
        return Picture(self.images[image], parts, torch.from_numpy(objects.labels[kept]), width / height)


def collated(samples: Sequence[Sample]) -> Batch:
    """Samples as one batch.

    images: uint8 [batch, 3, side, side]; boxes: cxcywh in [0, 1] [all boxes, 4]; labels: [all boxes]; counts:
    boxes of each image. The weight is the number of boxes, which is what the library's losses are divided by.
    """
    counts = [len(sample.labels) for sample in samples]
    return {
        "images": torch.stack([sample.pixels for sample in samples]),
        "boxes": torch.cat([sample.boxes for sample in samples]),
        "labels": torch.cat([sample.labels for sample in samples]),
        "counts": counts,
        "weight": max(1, sum(counts)),  # 1 where there is none, as in the library
    }


def parted(batch: Batch, sizes: Sequence[int]) -> list[Batch]:
    """A batch of training or validation rows in parts of so many images."""
    pieces: dict[str, list[Any]] = {}
    for name, value in batch.items():
        if isinstance(value, Tensor | list) and name not in _COUNTED_BY:
            pieces[name] = parts_of(value, sizes)
    for name, counted in _COUNTED_BY.items():
        if name in batch:
            pieces[name] = parts_of(batch[name], [sum(counts) for counts in pieces[counted]])
    pieces["weight"] = [max(1, sum(counts)) for counts in pieces["counts"]]
    return batches_of(pieces)


@dataclass(frozen=True)
class TrainRows(ImageRows):
    """Training images by number, augmented unless `augment` is None."""

    data: Annotated
    side_px: int
    layout: Layout
    seed: int
    augment: AugmentSettings | None

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        chosen = self.chosen(keys)
        draws = uniforms(self.seed, keys[0][0], chosen, DRAWS)
        return collated([self._sample(int(image), list(draw)) for image, draw in zip(chosen, draws, strict=True)])

    def _sample(self, image: int, draws: Sequence[float]) -> Sample:
        picture = self.data.picture(image)
        if self.augment is None:
            return framed(picture, self.side_px, self.layout)
        return augmented(picture, self.side_px, self.layout, self.augment, draws)


@dataclass(frozen=True)
class ValRows(ImageRows):
    """Validation images by number, with all their annotations."""

    data: Annotated
    side_px: int
    layout: Layout

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        """As in training, and: places, xywh of the picture in the square as parts of it [batch, 4]; sizes, width
        and height of the file [batch, 2]; truth, for each object xywh, label, crowd, area [all objects, 7]."""
        chosen = self.chosen(keys).tolist()
        samples = [framed(self.data.picture(image), self.side_px, self.layout) for image in chosen]
        objects = [self.data.objects[image] for image in chosen]
        return {
            **collated(samples),
            "places": torch.tensor([place_part(sample, self.side_px) for sample in samples]),
            "sizes": torch.tensor([self.data.sizes[image] for image in chosen]),
            "truth": torch.from_numpy(np.concatenate([_table(item) for item in objects])),
            "truth_counts": [len(item) for item in objects],
            "files": [str(self.data.images.paths[image]) for image in chosen],
        }


def place_part(sample: Sample, side_px: int) -> list[float]:
    """Left, top, width and height of the picture as parts of its square."""
    place = sample.place
    return [place.left / side_px, place.top / side_px, place.width / side_px, place.height / side_px]


def _table(objects: Objects) -> NDArray[np.float64]:
    return np.column_stack([objects.boxes, objects.labels, objects.crowd, objects.areas]).astype(np.float64)
