"""Losses by name, for the tasks whose `criterion.type` may be chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def _bce(output: Tensor, target: Tensor, **options: Any) -> Tensor:
    # Logarithms of probabilities overflow in half precision: PyTorch refuses this loss under autocast.
    with torch.autocast(output.device.type, enabled=False):
        return F.binary_cross_entropy(output.float(), target.float(), **options)


CRITERIA: Mapping[str, Callable[..., Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "bce": _bce,
    "bce_with_logits": F.binary_cross_entropy_with_logits,
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "smooth_l1": F.smooth_l1_loss,
}


def summed_loss(kind: str, output: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The sum over all elements, in fp32; `options` are those of PyTorch's function (`label_smoothing`, …)."""
    return CRITERIA[kind](output.float(), target, reduction="sum", **options)


def with_reduction(loss: Tensor, weight: float, reduction: str) -> Tensor:
    """A batch's summed loss, prepared for a loop that divides its gradient by `weight`.

    `mean`: as it is. `sum`: the same value, so that reports stay comparable, with `weight` times the gradient.
    """
    if reduction == "mean":
        return loss
    return loss.detach() + weight * (loss - loss.detach())
