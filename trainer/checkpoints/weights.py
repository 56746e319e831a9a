"""Weights from files that other programs wrote, loaded so that nothing in them can run code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainer.checkpoints.files import PARTS, UNREADABLE
from trainer.checkpoints.weight_files import SAFETENSORS
from trainer.errors import ConfigError, DataError, Problem, first_line


def read_weights(path: Path, whole_model_of: str = "") -> dict[str, Tensor]:
    """The state dict in a file of PyTorch's or in a `.safetensors`; `model.weights` is named where there is none.

    `whole_model_of`: the task whose models are backbones and nothing else; a checkpoint of it holds one, with
    averaged weights where it has them.
    """
    if not path.is_file():
        raise ConfigError([Problem("model.weights", f"{path}: no such file")])
    content = content_of(path)
    if isinstance(content, dict) and content.keys() >= PARTS:
        if content["task"] == whole_model_of:
            state: dict[str, Tensor] = content["average"] or content["model"]
            return state
        what = f"{path} is a checkpoint of this program, not a file of a backbone's weights"
        raise ConfigError([Problem("model.weights", f"{what}; start from it with checkpoint.weights={path}")])
    given = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(given, dict):
        raise DataError(f"{path}: expected a state dict")
    return given


def content_of(path: Path) -> Any:
    """The content of a PyTorch or safetensors file; `DataError` where it is neither."""
    try:
        if path.suffix == SAFETENSORS:
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, *UNREADABLE) as error:
        raise DataError(f"{path}: not a file of weights ({first_line(error)})") from None
