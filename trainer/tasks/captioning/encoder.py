"""ResNet feature maps (He et al. 2016): torchvision's, and a thin one for CPUs."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

from torch import nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock

from trainer.checkpoints.weights import read_weights
from trainer.errors import ConfigError, DataError, Problem, first_line
from trainer.tasks.captioning.config import CaptioningModel

THIN_WIDTHS = (16, 32, 64, 128)


def thin_resnet() -> tuple[nn.Module, int]:
    """ResNet-10's plan (one basic block a stage) at a quarter of its width, with a 3×3 stem and no max-pool.

    0.3 M parameters, stride 16: about 15 M multiply-adds for an image of 64 px.
    """
    stem = THIN_WIDTHS[0]
    layers: list[nn.Module] = [
        nn.Conv2d(3, stem, 3, 2, 1, bias=False),
        nn.BatchNorm2d(stem),
        nn.ReLU(inplace=True),
    ]
    width = stem
    for planes, stride in zip(THIN_WIDTHS, (1, 2, 2, 2), strict=True):
        shortcut = None
        if stride != 1 or width != planes:
            shortcut = nn.Sequential(nn.Conv2d(width, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
        layers.append(BasicBlock(width, planes, stride, shortcut))
        width = planes
    for module in layers:
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(*layers), width


def build_backbone(settings: CaptioningModel, weights: bool) -> tuple[nn.Module, int]:
    """The backbone without pooling and classifier, and its number of channels.

    `weights=False` leaves out pretrained weights, because a checkpoint follows.
    """
    if settings.backbone == "resnet10_thin":
        net, channels = thin_resnet()
        if weights and settings.weights is not None:
            _load_into(net, settings.weights)
        return net, channels
    try:
        download = "DEFAULT" if weights and settings.pretrained and settings.weights is None else None
        resnet = get_model(settings.backbone, weights=download)
    except (URLError, OSError) as error:
        what = f"the weights of {settings.backbone} could not be fetched ({error})"
        fix = "give a file with model.weights=PATH, or start from random weights with model.pretrained=false"
        raise ConfigError([Problem("model.pretrained", f"{what}; {fix}")]) from None
    if weights and settings.weights is not None:
        _load_into(resnet, settings.weights)
    channels = resnet.fc.in_features
    return nn.Sequential(*list(resnet.children())[:-2]), channels


def _load_into(resnet: nn.Module, path: Path) -> None:
    """Loads a network from a file; a classifier in it (`fc.`) is ignored."""
    state = {name: value for name, value in read_weights(path).items() if not name.startswith("fc.")}
    try:
        missing, strange = resnet.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise DataError(f"{path}: weights of another model ({first_line(error)})") from None
    missing = [name for name in missing if not name.startswith("fc.")]
    if missing or strange:
        raise DataError(f"{path}: weights of another model: {len(missing)} missing, {len(strange)} unknown entries")
