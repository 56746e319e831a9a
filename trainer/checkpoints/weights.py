"""Weights from files that other programs wrote, loaded so that nothing in them can run code."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainer.checkpoints.files import PARTS, UNREADABLE
from trainer.checkpoints.weight_files import SAFETENSORS
from trainer.config.registry import load
from trainer.errors import ConfigError, DataError, Problem, counted, explained, first_line

_SHOWN, _KEYS = 3, 10  # entries, and keys of a file, that a message names
_DEEPEST = 4  # wrappers around a state dict
_AVERAGED = re.compile(r"(\b|_)(ema|swa|avg|averaged?|teacher)(\b|_)", re.IGNORECASE)
# What wrappers put inside names: torch.compile, FSDP, activation checkpointing.
_INSIDE = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# Layers as DenseNet's first published files call them, and as torchvision does.
_OLD_LAYER = re.compile(r"\.(norm|relu|conv)\.([12])\.")
_COUNTER = "num_batches_tracked"  # files of before PyTorch 0.4.1 have none; nothing but a momentum of None reads it
_CONVERT = (
    "where you trust the file, load it with the program that wrote it, and save its tensors alone: "
    "torch.save(model.state_dict(), FILE)"
)


@dataclass(frozen=True)
class FoundWeights:
    """Tensors under the names of a model that they may be for.

    `place`: the file and where in it they were; `others`: the wrapper's other tensors by name; `holds`: what is in the
    file, for a message.
    """

    place: str
    entries: Mapping[str, Tensor]
    others: Sequence[str] = ()
    holds: str = ""

    def fitted(self, wanted: Mapping[str, Tensor], new: Collection[str] = ()) -> dict[str, Tensor]:
        """The entries that a model with the state dict `wanted` takes; `DataError` says which do not fit, and how.

        Entries of `new`, those of a classifier's last layer, are left out where they do not fit. A part that has more
        layers in the file than in the model is another model's; a part that the model lacks altogether is ignored.
        """
        given = {name: value for name, value in self.entries.items() if name in wanted}
        wrong = [name for name in given if given[name].shape != wanted[name].shape]
        faults = [f"{name} is {_shape(given[name])}, not {_shape(wanted[name])}" for name in wrong if name not in new]
        missing = [n for n in wanted if n not in given and n not in new and not n.endswith(_COUNTER)]
        strange = self._of_other_layers(wanted, new)
        told = [
            *_some(faults, "entry", "of another size"),
            *_some(missing, "entry", "missing"),
            *_some(strange, "entry", "unknown"),
            *([f"the file holds {self.holds}"] if self.holds else []),
            f"wanted are {_described(wanted)}",
        ]
        if faults or missing or strange:
            what = f"{self.place}: weights of another model, or for another size of images"
            raise DataError(f"{what}: {'; '.join(told)}")
        return {name: value for name, value in given.items() if name not in wrong}

    def _of_other_layers(self, wanted: Mapping[str, Tensor], new: Collection[str]) -> list[str]:
        """The entries of layers that a part of the model lacks, though not of its head: those of a deeper model."""
        parts = {name.split(".")[0] for name in wanted} - {name.split(".")[0] for name in new}
        modules = {name.rsplit(".", depth)[0] for name in wanted for depth in range(1, name.count(".") + 1)}
        ours = (name for name in self.others if name.split(".")[0] in parts)
        return [name for name in ours if "." in name and name.rsplit(".", 1)[0] not in modules]


def read_weights(
    path: Path, wanted: Mapping[str, Tensor], whole_model_of: str = "", key: str = "model.weights"
) -> FoundWeights:
    """The weights in a file of PyTorch's or in a `.safetensors` that fit the state dict `wanted` best.

    They may lie under keys (`state_dict`, `model`, `ema`, …), and their names may begin with those of wrappers
    (`module.`, `model.`, `backbone.`, …): whatever makes most names fit is taken off; of equals, averaged weights come
    first. `whole_model_of`: the task whose models are backbones and nothing else; a checkpoint of it holds one. `key`
    names the file.
    """
    if not path.is_file():
        raise ConfigError([Problem(key, f"{path}: no such file")])
    content = content_of(path)
    if isinstance(content, dict) and content.keys() >= PARTS:
        if content["task"] == whole_model_of:
            return FoundWeights(str(path), content["average"] or content["model"])
        what = f"{path} is a checkpoint of this program, not a file of a backbone's weights"
        raise ConfigError([Problem(key, f"{what}; start from it with checkpoint.weights={path}")])
    found = [
        (fit, _AVERAGED.search(f"{place} {prefix}") is not None, place, prefix, tensors)
        for place, tensors in _state_dicts(content)
        for fit, prefix in _prefixes(tensors, wanted)
    ]
    holds = _contents(content)
    if not found:
        return FoundWeights(str(path), {}, (), holds)
    _, _, place, prefix, tensors = max(found, key=lambda each: each[:2])  # of equals, the first
    named = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return FoundWeights(
        f"{path}{place and f' ({place})'}",
        {name: value for name, value in named.items() if name in wanted},
        [name for name in named if name not in wanted],
        holds,
    )


def _state_dicts(content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The mappings with tensors in a file, from the outermost on, each with the keys that lead to it."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        plain = {_INSIDE.sub("", name): value for name, value in tensors.items()}
        yield place, plain
        if any(map(_OLD_LAYER.search, plain)):
            yield place, {_OLD_LAYER.sub(r".\1\2.", name): value for name, value in plain.items()}
    for name, value in content.items():
        yield from _state_dicts(value, f"{place}.{name}".lstrip("."), depth + 1)


def _prefixes(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[tuple[int, str]]:
    """What may stand before all names, and how well the names and sizes then fit."""
    endings = {name.rsplit(".", 1)[-1] for name in wanted}
    possible: Counter[str] = Counter()
    for name in tensors:
        if name.rsplit(".", 1)[-1] in endings:
            parts = name.split(".")
            rests = (".".join(parts[start:]) for start in range(len(parts)))
            possible.update(name.removesuffix(rest) for rest in rests if rest in wanted)
    for prefix in possible:
        pairs = ((value, tensors.get(f"{prefix}{name}")) for name, value in wanted.items())
        fit = sum(1 + (given.shape == value.shape) for value, given in pairs if given is not None)
        yield fit, prefix


def _contents(content: Any) -> str:
    """What a file holds, in a few words: its keys, and some of its tensors with their sizes."""
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__} in place of tensors by name"
    tensors = dict(list(_state_dicts(content))[:_SHOWN])
    told = [f"{place and f'{place}, '}{_described(found)}" for place, found in tensors.items()]
    shown = {place.split(".")[0] for place in tensors}
    keys = [str(name) for name, value in content.items() if not isinstance(value, Tensor) and str(name) not in shown]
    return " and ".join([*told, *([f"the keys {', '.join(keys[:_KEYS])}"] if keys else [])]) or "nothing"


def _described(tensors: Mapping[str, Tensor]) -> str:
    named = ", ".join(f"{name} {_shape(value)}" for name, value in list(tensors.items())[:_SHOWN])
    return f"{counted(len(tensors), 'tensor')} such as {named}"


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


def _some(items: Sequence[str], noun: str, what: str) -> list[str]:
    """Some items with their number, such as `7 entries missing: a, b, c, …`; nothing for none."""
    more = ", …" if len(items) > _SHOWN else ""
    return [f"{counted(len(items), noun)} {what}: {', '.join(items[:_SHOWN])}{more}"] if items else []


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
    """The content of a PyTorch or safetensors file; `DataError` where it is neither, or would run code."""
    try:
        if path.suffix == SAFETENSORS:
            return load_file(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*TorchScript archive")  # which is refused then
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, *UNREADABLE) as error:
        why = first_line(error)
        advice = f"; {_CONVERT}" if why.startswith("it holds") else ""
        raise DataError(f"{path}: not a file of weights ({why}){advice}") from None
