"""BatchNorm where a batch is one sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Runs BatchNorm as in evaluation: one image with a 1×1 feature map has no statistics of its own.

    So the last batch of an epoch may be one sample; to leave it out, or to join it to another batch, would change how
    many steps an epoch has.
    """
    active = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    for norm in active:
        norm.eval()
    try:
        yield
    finally:
        for norm in active:
            norm.train()
