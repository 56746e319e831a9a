"""Weights from files that other programs wrote, loaded so that nothing in them can run code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainer.checkpoints.files import PARTS, UNREADABLE
from trainer.checkpoints.weight_files import SAFETENSORS
from trainer.config.registry import load
from trainer.errors import ConfigError, DataError, Problem, explained, first_line


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


def fetching(name: str) -> AbstractContextManager[None]:
    """Turns errors of fetching a library's weights into one `ConfigError` with advice."""
    what = f"the weights of {name} could not be fetched"
    fix = "give a file with model.weights=PATH, or start from random weights with model.pretrained=false"
    return explained("model.pretrained", what, fix, OSError, RuntimeError, ValueError, AttributeError)


@contextmanager
def quiet(*libraries: str) -> Iterator[None]:
    """Turns off the reports and progress bars of libraries of the hub."""
    modules = [load(f"{name}.utils:logging") for name in libraries]
    levels = [module.get_verbosity() for module in modules]
    bars = [module for module in modules if getattr(module, "is_progress_bar_enabled", bool)()]
    for module in modules:
        module.set_verbosity_error()
    for module in bars:
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module, level in zip(modules, levels, strict=True):
            module.set_verbosity(level)
        for module in bars:
            module.enable_progress_bar()


def content_of(path: Path) -> Any:
    """The content of a PyTorch or safetensors file; `DataError` where it is neither."""
    try:
        if path.suffix == SAFETENSORS:
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, *UNREADABLE) as error:
        raise DataError(f"{path}: not a file of weights ({first_line(error)})") from None
