"""An exponential moving average of a model's weights (Polyak and Juditsky 1992), evaluated in their place."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """Averages after every optimizer step, with decay min(`decay`, (1 + t) / (10 + t)) at step t, so that the
    first steps do not keep the random weights. Buffers (BatchNorm's statistics) are copied, not averaged.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._averaged: list[Tensor] = list(self.model.parameters())
        self._live: list[Tensor] = [parameter.detach() for parameter in model.parameters()]
        self._buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    def update(self, step: int) -> None:
        """Takes the weights after optimizer step `step`, counted from 1."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self._averaged, self._live, 1.0 - decay)

    def for_evaluation(self) -> nn.Module:
        """The averaged model, with the present buffers of the trained one."""
        for averaged, live in self._buffers:
            averaged.copy_(live)
        return self.model
