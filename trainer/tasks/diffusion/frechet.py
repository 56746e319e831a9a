"""Fréchet distance of generated to real images in the features of a classifier (Heusel et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from trainer.checkpoints.weights import read_weights
from trainer.data.splits import Indices
from trainer.data.tensors import normalise
from trainer.errors import ConfigError, Problem, explained
from trainer.learning.randomness import untouched
from trainer.store.image_cache import Images
from trainer.task.batches import in_blocks

Generate = Callable[[Sequence[str], Indices], Tensor]  # captions, image numbers → uint8 [n, side, side, 3]
_CLASSIFIER = ("fc", "classifier", "heads", "head")


class Frechet:
    """The Fréchet distance of real images to as many generated from their captions, from Gaussians fitted to features.

    It depends on the backbone, the images' size and their number (few images, a larger distance): compare only what is
    equal in all three. It is no FID, which means Inception's features.
    """

    def __init__(
        self, backbone: str, weights: Path | None, images: Images, numbers: Indices, captions: Sequence[str]
    ) -> None:
        self.name = f"frechet_{backbone}"
        self.images, self.numbers, self.captions = images, numbers, captions
        with untouched():
            self._net = _backbone(backbone, weights)
        self._real: Tensor | None = None

    @torch.no_grad()
    def distance(self, generate: Generate, batch: int, device: torch.device) -> float:
        """The distance of images that `generate` makes in batches; features of real images are computed once."""
        net = self._net.to(device)
        if self._real is None:
            self._real = self._features(net, (self._pixels(part) for part, _ in self._parts(batch)), device)
        made = self._features(net, (generate(captions, part) for part, captions in self._parts(batch)), device)
        return frechet_distance(self._real, made)

    def _parts(self, size: int) -> Iterator[tuple[Indices, Sequence[str]]]:
        yield from zip(in_blocks(self.numbers, size), in_blocks(self.captions, size), strict=True)

    def _pixels(self, numbers: Indices) -> Tensor:
        return torch.from_numpy(np.stack([self.images[number] for number in numbers.tolist()]))

    @staticmethod
    def _features(net: nn.Module, images: Iterator[Tensor], device: torch.device) -> Tensor:
        """float64 [images, features]"""
        with torch.autocast(device.type, enabled=False):
            return torch.cat([net(normalise(few.to(device))).flatten(1).double().cpu() for few in images])


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of features [images, features] in float64.

    The trace of the root is the sum of the singular values of the product of the centred features, whichever of images
    and features are more.
    """
    centred = [each - each.mean(dim=0) for each in (one, other)]
    scaled = [each / (len(each) - 1) ** 0.5 for each in centred]
    means = (one.mean(dim=0) - other.mean(dim=0)).square().sum()
    spreads = scaled[0].square().sum() + scaled[1].square().sum()
    both = torch.linalg.svdvals(scaled[0] @ scaled[1].T).sum()
    return max(0.0, float(means + spreads - 2.0 * both))


def _backbone(name: str, weights: Path | None) -> nn.Module:
    """A torchvision classifier, which the configuration knows to be one, without its last layer."""
    where = "metrics.frechet_backbone"
    what, fix = f"the weights of {name} could not be loaded", "give a file with metrics.frechet_weights=PATH"
    with explained(where, what, fix, OSError, ValueError):
        net: Any = get_model(name, weights=None if weights is not None else "DEFAULT")
    if weights is not None:
        _load(net, weights)
    for last in _CLASSIFIER:
        if hasattr(net, last):
            setattr(net, last, nn.Identity())
            frozen: nn.Module = net.eval().requires_grad_(False)
            return frozen
    raise ConfigError([Problem(where, f"{name} is no classifier whose features could be taken")])


def _load(net: nn.Module, path: Path) -> None:
    wanted = net.state_dict()
    unused = [name for name in wanted if name.split(".")[0] in _CLASSIFIER]
    net.load_state_dict(read_weights(path, wanted, key="metrics.frechet_weights").fitted(wanted, unused), strict=False)
