"""Classifiers of torchvision and timm by name: any number of channels and classes, weights from library or file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from trainer.checkpoints.weights import FoundWeights, fetching, read_weights
from trainer.data.tensors import IMAGENET_MEAN, IMAGENET_STD
from trainer.errors import ConfigError, Problem, explained, first_line
from trainer.learning.randomness import untouched
from trainer.tasks.classification.config import ClassificationModel
from trainer.tasks.classification.rows import Statistics

_SOME_CLASSES = 2
_OPACITY = 0.5  # mean and deviation of a channel that pretrained models do not have
# Heads that only training uses, and a colour transform that belongs to the published weights.
_GOOGLE = {"aux_logits": False, "init_weights": False}
_INCEPTION = ("googlenet", "inception_v3")


def statistics_of(settings: ClassificationModel) -> Statistics:
    """The pixel statistics that a backbone was trained with: ImageNet's, except for some of timm's."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    if settings.package == "timm":
        published = _known_weights(settings)
        if published is not None:
            mean, std = published.mean, published.std
    channels = settings.in_channels
    if channels < 3:
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    more = (_OPACITY,) * (channels - len(mean))
    return Statistics((*mean, *more), (*std, *more))


def build_backbone(settings: ClassificationModel, classes: int, side_px: int, weights: bool) -> nn.Module:
    """A classifier for images of `side_px`; `weights=False` leaves out pretrained ones, because a checkpoint follows.

    `ConfigError` where weights cannot be loaded, or the backbone cannot take such images.
    """
    what = f"{settings.backbone_name} cannot be built for images of {side_px} px"
    with explained("model.backbone_name", what, "", TypeError, ValueError, RuntimeError, AssertionError):
        model = _made(settings, classes, side_px)
    if weights and (settings.pretrained or settings.weights is not None):
        model.load_state_dict(_weights_for(model, settings), strict=False)
    _try_out(model, settings, side_px)
    return model


def require_backbone(settings: ClassificationModel, sides_px: Sequence[int], weights: bool) -> None:
    """`ConfigError` where a backbone cannot be loaded, or cannot take images of these sizes, one after the other.

    With `weights`, those of a file must fit (else a `DataError`), and published ones be available; these are in the
    library's cache from then on. Sizes are tried without memory and arithmetic where the model can be; only what fails
    there is built in earnest.
    """
    if has_fixed_size(settings) and len(sides_px) > 1:
        raise other_size(settings, sides_px[0], sides_px[1])
    with untouched():
        for side_px in sides_px:
            try:
                with torch.device("meta"):
                    model = _made(settings, _SOME_CLASSES, side_px)
                    _try_out(model, settings, side_px)
            except Exception:  # noqa: BLE001 - a model may fail in any way on tensors without content; the next line reports it
                model = build_backbone(settings, _SOME_CLASSES, side_px, weights=False)
    if weights and settings.weights is not None:
        _weights_for(model, settings)
    elif weights and settings.pretrained:
        _published(settings)


def other_size(settings: ClassificationModel, built_px: int, side_px: int) -> ConfigError:
    what = f"{settings.backbone_name} was built for images of {built_px} px and takes no others, such as {side_px} px"
    return ConfigError([Problem("data.image_size", f"{what}; a ladder or a resize_schedule over it keeps one size")])


def head_of(model: nn.Module) -> frozenset[int]:
    """The identities of the parameters of the last layer or layers, which are new for each set of classes."""
    get: Callable[[], Any] | None = getattr(model, "get_classifier", None)  # timm's
    if get is not None:
        modules = get()
        heads = [part for part in (modules if isinstance(modules, tuple | list) else (modules,)) if part is not None]
    else:
        heads = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1:]
    return frozenset(id(parameter) for head in heads for parameter in head.parameters())


def _known_weights(settings: ClassificationModel) -> Any:
    """What timm knows of the weights of a name; `ConfigError` for an unknown tag behind the dot."""
    try:
        return timm.get_pretrained_cfg(settings.backbone_name)
    except RuntimeError as error:
        what = f"{first_line(error)} Leave out what is behind the dot."
        raise ConfigError([Problem("model.backbone_name", what)]) from None


def has_fixed_size(settings: ClassificationModel) -> bool:
    """Whether the model takes images of one size only: transformers with learned places."""
    if settings.package == "torchvision":
        return settings.backbone_name.startswith(("vit_", "maxvit_"))
    published = _known_weights(settings)
    return bool(published is not None and published.fixed_input_size)


def _made(settings: ClassificationModel, classes: int, side_px: int) -> nn.Module:
    name, fixed = settings.backbone_name, has_fixed_size(settings)
    if settings.package == "timm":
        options: dict[str, Any] = {"img_size": side_px} if fixed else {}
        model: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=classes, in_chans=settings.in_channels, **options
        )
        return model
    options = dict(_GOOGLE) if name in _INCEPTION else {}
    if name in _INCEPTION:
        options["transform_input"] = settings.pretrained and settings.in_channels == 3
    if fixed:
        options |= {"image_size": side_px} if name.startswith("vit_") else {"input_size": (side_px, side_px)}
    model = get_model(name, weights=None, num_classes=classes, **options)
    if settings.in_channels != 3:
        _change_channels(model, settings.in_channels)
    return model


def _first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((name, part) for name, part in model.named_modules() if isinstance(part, nn.Conv2d))


def _change_channels(model: nn.Module, channels: int) -> None:
    """Makes the first layer, which takes colour images, one for other channels, with random weights."""
    _, first = _first_convolution(model)
    first.in_channels = channels
    first.weight = nn.Parameter(first.weight.new_empty(first.out_channels, channels, *first.kernel_size))
    first.reset_parameters()


def _published(settings: ClassificationModel) -> Mapping[str, Tensor]:
    """The library's own weights, from its cache or from the network."""
    name = settings.backbone_name
    with fetching(name):
        if settings.package == "timm":
            return timm.create_model(name, pretrained=True).state_dict()
        state: Mapping[str, Tensor] = get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True)
        return state


def _weights_for(model: nn.Module, settings: ClassificationModel) -> dict[str, Tensor]:
    """All entries but the head's, and those where they fit; the first layer's are adapted to the channels."""
    own, heads = model.state_dict(), head_of(model)
    head = {name for name, parameter in model.named_parameters() if id(parameter) in heads}
    if settings.weights is not None:
        found = read_weights(settings.weights, own, "classification")
    else:
        found = FoundWeights(f"the weights of {settings.backbone_name}", _published(settings))
    first = f"{_first_convolution(model)[0]}.weight"
    entries = dict(found.entries)
    if settings.in_channels != 3 and first in entries and entries[first].shape[1] == 3:
        entries[first] = adapt_input_conv(settings.in_channels, entries[first])
    return replace(found, entries=entries).fitted(own, head)


@torch.no_grad()
def _try_out(model: nn.Module, settings: ClassificationModel, side_px: int) -> None:
    """Tries one image; `ConfigError` where the model cannot take it."""
    what, fix = f"{settings.backbone_name} takes no images of {side_px} px", "choose another data.image_size"
    with explained("model.backbone_name", what, fix, RuntimeError, ValueError, AssertionError, IndexError):
        model.eval()(torch.zeros(1, settings.in_channels, side_px, side_px))
