"""What a frozen part of a model makes of the data is kept between runs: what such a cache must be named by."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def weights_digest(module: nn.Module) -> str:
    """A digest of every weight and buffer, by name, kind and shape."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def computed_by(device: torch.device) -> list[str | int]:
    """What else decides about the last bit of a number: other threads and other devices add in another order."""
    return [torch.__version__, device.type, torch.get_num_threads()]
