"""Builds a detector of the library: from a configuration, from pretrained weights, or as a checkpoint left it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from trainer.checkpoints.weights import quiet
from trainer.config.registry import load
from trainer.errors import ConfigError, Problem, explained
from trainer.tasks.detection.config import DetectionConfig
from trainer.tasks.detection.detectors import DETECTORS, Detector, strides_of
from trainer.tasks.detection.model_settings import DetectionCriterion, DetectionModel

BACKBONE = "model.backbone"


def build_detector(config: DetectionConfig, classes: Sequence[str]) -> nn.Module:
    """A detector for these classes, with random or pretrained weights as the configuration says."""
    row = DETECTORS[config.model.name]
    losses = row.losses(config.model, config.criterion)
    names = {"id2label": dict(enumerate(classes)), "label2id": {name: i for i, name in enumerate(classes)}}
    if config.model.pretrained:
        return _finished(_pretrained(config.model, {**losses, **names}))
    model = _random(config.model.name, row.sizes(config.model) | losses | names)
    _complete_initialisation(model, row)
    return _finished(model)


def require_detector(model: DetectionModel) -> None:
    """`ConfigError` where the library cannot build a detector, or its loss fails.

    That of small images, with weights of zeros: what costs seconds is to draw them.
    """
    row = DETECTORS[model.name]
    what = f"the library cannot build or train this {model.name}"
    with explained("model", what, "change its sizes", Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.device("meta"):
            detector = _finished(_random(model.name, row.sizes(model) | row.losses(model, DetectionCriterion())))
        detector.to_empty(device="cpu")
        for values in (*detector.parameters(), *detector.buffers()):
            values.data.zero_()
        strides = strides_of(model)
        sides = (times * strides[-1] for times in count(2))
        enough = (side for side in sides if sum((side // step) ** 2 for step in strides) >= model.num_queries)
        side = 2 * strides[-1] if row.one_level else next(enough)
        box = {"class_labels": torch.tensor([0]), "boxes": torch.tensor([[0.5, 0.5, 0.5, 0.5]])}
        with torch.no_grad():
            detector.train()(torch.zeros(2, 3, side, side), labels=[box, box])


def rebuild_detector(name: str, architecture: str) -> nn.Module:
    """The detector that `architecture` describes, its weights still to be loaded."""
    content = json.loads(architecture)
    model = _made(name, _library(name)[0].from_dict(content["library"]))
    if content["thawed"]:
        _thaw(model)
    return _finished(model)


def architecture_of(model: nn.Module, pretrained: bool) -> str:
    """The input of `rebuild_detector`, as text."""
    library = json.loads(model.config.to_json_string(use_diff=False))  # type: ignore[union-attr, operator]
    return json.dumps({"library": library, "thawed": not pretrained})


def _library(name: str) -> tuple[Any, Any]:
    """The library's classes of the configuration and the model of a detector."""
    settings = load("transformers:CONFIG_MAPPING")[name]
    return settings, load("transformers:MODEL_FOR_OBJECT_DETECTION_MAPPING")[settings]


def _random(name: str, arguments: dict[str, Any]) -> nn.Module:
    """A detector whose weights are all to be learned, as the library draws them."""
    model = _made(name, _library(name)[0](**arguments))
    _thaw(model)
    return model


def _made(name: str, settings: Any) -> nn.Module:
    with warnings.catch_warnings():  # a warning about sizes for a kernel that is not used here
        warnings.filterwarnings("ignore", message="You'd better set embed_dim")
        model: nn.Module = _library(name)[1](settings)
        return model


def _pretrained(settings: DetectionModel, arguments: dict[str, Any]) -> nn.Module:
    """A published or saved model, with new heads where its number of classes is another."""
    require_pretrained(settings)
    detector = _library(settings.name)[1]
    with _explained(settings), quiet("transformers"):  # which reports that heads are new, as intended
        model: nn.Module = detector.from_pretrained(settings.pretrained, ignore_mismatched_sizes=True, **arguments)
        return model


def require_pretrained(settings: DetectionModel) -> None:
    """`ConfigError` where the named model cannot be loaded, or is another; reads its description only."""
    with _explained(settings), quiet("transformers"):
        kind = load("transformers:AutoConfig").from_pretrained(settings.pretrained).model_type
    if kind != settings.name:
        raise ConfigError([Problem("model.pretrained", f"{settings.pretrained} is a {kind}, not a {settings.name}")])


def _explained(settings: DetectionModel) -> AbstractContextManager[None]:
    """Turns errors of fetching and reading into one `ConfigError` with advice."""
    what = f"no {settings.name} could be loaded from {settings.pretrained}"
    fix = "name a folder with a saved model (config.json and model.safetensors) with model.pretrained=FOLDER, "
    fix += "or start from random weights with model.pretrained=false"
    return explained("model.pretrained", what, fix, OSError, ValueError, ImportError, KeyError, RuntimeError)


def _thaw(model: nn.Module) -> None:
    """Unfreezes a backbone of random weights, which must learn: the library freezes DETR's, with its statistics."""
    backbone = model.get_submodule(BACKBONE)
    for module in list(backbone.modules()):
        for name, child in module.named_children():
            if type(child).__name__.endswith("FrozenBatchNorm2d"):
                setattr(module, name, nn.BatchNorm2d(len(child.weight)))  # type: ignore[arg-type]  # a buffer
    backbone.requires_grad_(True)


@torch.no_grad()
def _complete_initialisation(model: nn.Module, row: Detector) -> None:
    """Makes the library's random weights trainable from scratch; never for pretrained ones.

    It draws the BatchNorm weights outside the backbone from N(0, 0.01), which all but switches these layers off.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        elif row.xavier and isinstance(module, nn.Linear) and module.weight.any():  # zeros are intended
            nn.init.xavier_uniform_(module.weight)


def _finished(model: nn.Module) -> nn.Module:
    """The model with its loss computed in full precision, whatever the network runs in."""
    plain: Callable[..., Any] = model.loss_function  # type: ignore[assignment]
    model.loss_function = partial(_in_full_precision, plain)  # type: ignore[assignment]
    return model


def _in_full_precision(loss: Callable[..., Any], logits: Tensor, *rest: Any, **named: Any) -> Any:
    """The library's loss in float32. A network that has diverged gets a NaN, where the matcher would raise."""
    boxes = rest[2]
    if not bool(torch.isfinite(logits).all() & torch.isfinite(boxes).all()):
        return (logits.sum() + boxes.sum()) * torch.nan, {}, None
    with torch.autocast(logits.device.type, enabled=False):
        return loss(_wide(logits), *map(_wide, rest), **{name: _wide(value) for name, value in named.items()})


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
