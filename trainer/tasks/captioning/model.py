"""The captioner: image → places → mean vector → LSTM → words (Vinyals et al. 2015, with Xu et al.'s places).

Feature maps are a ResNet's (He et al. 2016): torchvision's, or those of a thin one for CPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock

from trainer.checkpoints.weights import fetching, read_weights
from trainer.tasks.captioning.config import CaptioningModel

THIN_WIDTHS = (16, 32, 64, 128)
_CLASSIFIER = ("fc.", "9.")  # of a ResNet, by its name and by its number
State = tuple[Tensor, Tensor]


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
    download = "DEFAULT" if weights and settings.pretrained and settings.weights is None else None
    with fetching(settings.backbone):
        resnet = get_model(settings.backbone, weights=download)
    if weights and settings.weights is not None:
        _load_into(resnet, settings.weights)
    channels = resnet.fc.in_features
    return nn.Sequential(*list(resnet.children())[:-2]), channels


def _load_into(resnet: nn.Module, path: Path) -> None:
    """Loads a network from a file, whose layers have torchvision's names or are numbered; its classifier is ignored."""
    numbered = nn.Sequential(*resnet.children())  # the same layers, as captioners usually keep them
    read = [(net, read_weights(path, net.state_dict())) for net in (resnet, numbered)]
    net, found = max(read, key=lambda pair: len(pair[1].entries))
    wanted = net.state_dict()
    classifier = [name for name in wanted if name.startswith(_CLASSIFIER)]
    net.load_state_dict(found.fitted(wanted, classifier), strict=False)


class Encoder(nn.Module):
    """Images to places: feature map → adaptive pool to `encoded_image_size`² → 1×1 convolution."""

    def __init__(self, settings: CaptioningModel, weights: bool) -> None:
        super().__init__()
        self.backbone, channels = build_backbone(settings, weights)
        self.pool = nn.AdaptiveAvgPool2d(settings.encoded_image_size)
        self.project = nn.Conv2d(channels, settings.encoder_dim, 1)
        self.frozen = not settings.encoder_fine_tune
        if self.frozen:
            self.backbone.requires_grad_(False)
        # Images come with their channels last; convolutions are faster that way, also on CPUs.
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> Encoder:
        """A frozen backbone stays in evaluation mode, or its batch statistics would still move."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, seen: Tensor, known: bool = False) -> Tensor:
        """Images [batch, 3, side, side], or their feature maps (`known`) → places [batch, places, dim]."""
        features = seen if known else self.features(seen)
        places: Tensor = self.project(self.pool(features))  # [batch, dim, side, side]
        return places.flatten(2).transpose(1, 2)

    def features(self, images: Tensor) -> Tensor:
        """Images [batch, 3, side, side] → feature map [batch, channels, h, w]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps: Tensor = self.backbone(images)
            return maps


class Decoder(nn.Module):
    """An LSTM started by the image's mean vector, which also joins each word's embedding."""

    def __init__(self, vocabulary_size: int, settings: CaptioningModel) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary_size, settings.embed_size)
        self.start_hidden = nn.Linear(settings.encoder_dim, settings.decoder_dim)
        self.start_cell = nn.Linear(settings.encoder_dim, settings.decoder_dim)
        self.lstm = nn.LSTM(settings.embed_size + settings.encoder_dim, settings.decoder_dim, batch_first=True)
        self.dropout = nn.Dropout(settings.dropout)
        self.to_words = nn.Linear(settings.decoder_dim, vocabulary_size)

    def start(self, image: Tensor) -> State:
        """Mean vectors [batch, encoder_dim] → first state, both [1, batch, decoder_dim]."""
        return torch.tanh(self.start_hidden(image))[None], torch.tanh(self.start_cell(image))[None]

    def forward(self, words: Tensor, image: Tensor, state: State) -> tuple[Tensor, State]:
        """Word numbers [batch, steps] → logits [batch, steps, vocabulary] and the next state."""
        embedded = self.dropout(self.embed(words))
        repeated = image[:, None].expand(-1, words.shape[1], -1)
        inputs = torch.cat([embedded, repeated.to(embedded.dtype)], dim=-1)
        with _lstm_kernels(inputs.device):
            hidden, state = self.lstm(inputs, state)
        return self.to_words(self.dropout(hidden)), state


@contextmanager
def _lstm_kernels(device: torch.device) -> Iterator[None]:
    """PyTorch's own LSTM where oneDNN has none: in bf16 on a CPU without AVX-512, where it raises."""
    if device.type != "cpu" or not torch.is_autocast_enabled("cpu") or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        yield
        return
    before, torch.backends.mkldnn.enabled = torch.backends.mkldnn.enabled, False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


class Captioner(nn.Module):
    """Encoder and decoder together."""

    def __init__(self, vocabulary_size: int, settings: CaptioningModel, weights: bool = True) -> None:
        super().__init__()
        self.encoder = Encoder(settings, weights)
        self.decoder = Decoder(vocabulary_size, settings)

    def image_vectors(self, seen: Tensor, known: bool = False) -> Tensor:
        """Images, or the backbone's maps of them (`known`), as the encoder takes them → [batch, encoder_dim]."""
        vectors: Tensor = self.encoder(seen, known).mean(dim=1)
        return vectors

    def forward(self, seen: Tensor, words: Tensor, known: bool = False) -> Tensor:
        """Images or maps, and captions [batch, steps + 1] → logits for each next word [batch, steps, vocabulary]."""
        return self.logits(self.image_vectors(seen, known), words)

    def logits(self, image: Tensor, words: Tensor) -> Tensor:
        """As `forward`, from given mean vectors."""
        logits: Tensor = self.decoder(words[:, :-1], image, self.decoder.start(image))[0]
        return logits
