"""Classification rows, fetched a batch at a time. A row is an image with its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from trainer.learning.randomness import undisturbed, uniforms
from trainer.task.batches import Batch, ImageRows, RowKey
from trainer.tasks.classification.config import ClassificationConfig
from trainer.tasks.classification.source_images import SourceImages
from trainer.tasks.classification.transforms import DRAWS, Chains, as_tensor, pasted, with_channels

VAL_STREAM, MIX_STREAM = 1 << 41, 1 << 42  # differs from every epoch


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation by channel that the backbone expects, of pixels from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def applied(self, images: Tensor) -> Tensor:
        """uint8 [batch, channels, side, side] → float; floating-point images as they are."""
        if images.is_floating_point():
            return images
        mean = torch.tensor(self.mean, device=images.device)[:, None, None] * 255.0
        std = torch.tensor(self.std, device=images.device)[:, None, None] * 255.0
        # Channels last in memory: saves a quarter of a small network's step on a CPU, and suits a GPU's tensor cores.
        return images.to(torch.float, memory_format=torch.channels_last).sub_(mean).div_(std)


@dataclass(frozen=True)
class Labelled:
    """Images with their classes by number.

    `several`: an image may have any number of labels, and a batch's are float [batch, classes]; else they are
    int64 [batch].
    """

    pictures: SourceImages
    labels: Sequence[tuple[int, ...]]
    classes: int
    several: bool
    channels: int

    def targets(self, chosen: NDArray[np.int64]) -> Tensor:
        if not self.several:
            return torch.tensor([self.labels[image][0] for image in chosen])
        table = torch.zeros(len(chosen), self.classes)
        for row, image in enumerate(chosen):
            table[row, list(self.labels[image])] = 1.0
        return table

    def image(self, number: int) -> Tensor:
        return with_channels(as_tensor(self.pictures.images[number]), self.channels)


@dataclass(frozen=True)
class TrainRows(ImageRows):
    """Training images by number, augmented and mixed by chance; in overfit mode treated like validation images.

    images: uint8 [batch, channels, side, side], or float where transforms or mixing make it so.
    """

    data: Labelled
    chains: Chains
    statistics: Statistics
    config: ClassificationConfig

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        epoch, chosen = keys[0][0], self.chosen(keys)
        draws = uniforms(self.config.seed, epoch, chosen, DRAWS)
        with undisturbed():
            pictures = [self._picture(int(image), list(d), epoch) for image, d in zip(chosen, draws, strict=True)]
            images, labels = self._mixed(torch.stack(pictures), self.data.targets(chosen), keys[0])
        return {"images": images, "labels": labels, "weight": len(keys)}

    def _picture(self, image: int, draws: Sequence[float], epoch: int) -> Tensor:
        if self.config.training.overfit:
            return self.chains.framed(self.data.image(image), self.chains.val, draws[0])
        settings, behind = self.config.data, self.data.pictures.backgrounds
        if behind is not None and draws[1] < settings.insert_background_p:
            whole = as_tensor(self.data.pictures.images[image])
            background = as_tensor(behind[int(draws[2] * len(behind.paths))])
            ground = self.data.pictures.images.rendering.ground_in(len(whole))
            picture = pasted(whole, background, draws[3:6], settings.background_max_ratio, ground)
            picture = with_channels(picture, self.data.channels)
        else:
            picture = self.data.image(image)
        augmented = draws[6] < settings.augmentation_p_schedule.chance(epoch, self.config.schedule_epochs)
        return self.chains.framed(picture, self.chains.train if augmented else (), draws[0])

    def _mixed(self, images: Tensor, labels: Tensor, first: RowKey) -> tuple[Tensor, Tensor]:
        """With chance `mixing.p` a batch of mixed images; a function of the batch, identified by its first row."""
        mixing = self.config.training.mixing
        if self.config.training.overfit or mixing.p == 0.0:
            return images, labels
        epoch, row = first
        lot, seed = uniforms(self.config.seed, MIX_STREAM + epoch, np.array([row]), 2)[0]
        if lot >= mixing.p:
            return images, labels
        torch.default_generator.manual_seed(int(seed * 2**53))
        if not self.data.several:
            labels = F.one_hot(labels, self.data.classes).float()
        if mixing.strategy == "mixup":
            images = self.statistics.applied(images)
        kind = v2.MixUp if mixing.strategy == "mixup" else v2.CutMix
        images, labels = kind(alpha=mixing.alpha)(images, labels)
        return images, labels


@dataclass(frozen=True)
class ValRows(ImageRows):
    """Validation images by number; random draws in their transforms are the same every time."""

    data: Labelled
    chains: Chains

    def __getitems__(self, keys: Sequence[RowKey]) -> Batch:
        chosen = self.chosen(keys)
        seeds = uniforms(0, VAL_STREAM, chosen, 1)[:, 0]
        with undisturbed():
            pictures = [
                self.chains.framed(self.data.image(int(image)), self.chains.val, seed)
                for image, seed in zip(chosen, seeds, strict=True)
            ]
        return {
            "images": torch.stack(pictures),
            "labels": self.data.targets(chosen),
            "files": [str(self.data.pictures.images.paths[image]) for image in chosen],
            "weight": len(keys),
        }
