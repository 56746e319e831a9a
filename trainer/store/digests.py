"""Digests of models, by which caches of what frozen parts compute are named."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import nn

_NO_MODEL = frozenset(("transformers_version", "dtype", "torch_dtype", "architectures", "name_or_path"))


def weights_digest(module: nn.Module) -> str:
    """A digest of every weight and buffer, by name, kind and shape."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def model_digest(module: nn.Module) -> str:
    """The digest of a hub model's weights and configuration: the same weights may be used in another way.

    Where it came from and which version of a library wrote it do not count.
    """
    config = getattr(module, "config", None)
    settings = {} if config is None else config.to_dict() if hasattr(config, "to_dict") else dict(config)
    relevant = {key: value for key, value in settings.items() if not key.startswith("_") and key not in _NO_MODEL}
    text = json.dumps(relevant, sort_keys=True, default=str)
    return hashlib.blake2b(f"{weights_digest(module)} {text}".encode(), digest_size=16).hexdigest()


def computed_by(device: torch.device) -> list[str | int]:
    """What else the last bit of a number depends on: other threads and other devices add in another order."""
    return [torch.__version__, device.type, torch.get_num_threads()]
