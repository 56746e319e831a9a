"""The frozen autoencoder of images and latents: a published one, or one trained on the data (`tinyvae`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from trainer.errors import ConfigError, Problem
from trainer.learning.randomness import untouched
from trainer.store.digests import model_digest
from trainer.tasks.diffusion.config_parts import PRETRAINED_FACTOR, VaeSettings
from trainer.tasks.diffusion.published_parts import fetched, loading, shared_part, subfolder_of
from trainer.tasks.diffusion.tinyvae import TinyVae, Trained

# Repositories of Stable Diffusion 1, which have several models in folders, and where they are now: some are withdrawn,
# and have mirrors.
STABLE_DIFFUSION_1: Mapping[str, str] = {
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "runwayml/stable-diffusion-inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "CompVis/stable-diffusion-v1-4": "CompVis/stable-diffusion-v1-4",
}
# Repositories in the form of the first program, which the library does not read, and those in its own.
REPACKED: Mapping[str, str] = {
    "stabilityai/sd-vae-ft-mse-original": "stabilityai/sd-vae-ft-mse",
    "stabilityai/sd-vae-ft-ema-original": "stabilityai/sd-vae-ft-ema",
}
SCALE_1 = 0.18215  # of their latents; also the library's default


class Autoencoder:
    """A frozen autoencoder. Latents are scaled to a deviation of about 1, and rounded to float16 as in the cache.

    `digest` names its network, weights and scale. It moves to the device of its input.
    """

    def __init__(self, net: Any, scaling: float, sliced: bool = False) -> None:
        self.net = net.eval().requires_grad_(False)
        self.scaling = scaling
        self.digest = f"{model_digest(net)}-{scaling!r}"
        self.slicing(sliced)

    def slicing(self, wanted: bool) -> None:
        """Whether images are decoded one at a time."""
        for part in self.net.modules():
            if isinstance(part, AutoencoderKL):
                part.use_slicing = wanted

    def encode(self, images: Tensor) -> Tensor:
        """uint8 [batch, side, side, 3] → float16 [batch, channels, side / factor, side / factor].

        The mean of the posterior: its deviation is tiny, and what is kept must not be a draw.
        """
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
            mean: Tensor = self._on(images.device).encode(pixels).latent_dist.mode()
            return (mean * self.scaling).half()

    def decode(self, latents: Tensor) -> Tensor:
        """Latents as from `encode`, of any kind of float → uint8 [batch, side, side, 3]."""
        with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
            pixels: Tensor = self._on(latents.device).decode(latents.float() / self.scaling).sample
            return ((pixels + 1.0) * 127.5).round_().clamp_(0.0, 255.0).to(torch.uint8).permute(0, 2, 3, 1)

    def _on(self, device: torch.device) -> Any:
        return self.net.to(device)


def builtin_autoencoder(settings: VaeSettings, channels: int, trained: Trained) -> Autoencoder:
    """The built-in autoencoder with its trained weights."""
    with untouched():
        net = TinyVae(settings, channels)
    net.load_state_dict(dict(trained.state))
    return Autoencoder(net.to(memory_format=torch.channels_last), trained.scaling, settings.use_slicing)


def pretrained_autoencoder(settings: VaeSettings, channels: int) -> Autoencoder:
    """The autoencoder that the configuration names, loaded once a process; `ConfigError` where it does not load or
    fit."""
    asked = settings.pretrained_model_name
    name, inside = _place(settings)

    def load() -> Autoencoder:
        with loading("vae", asked):
            net: Any = fetched(AutoencoderKL.from_pretrained, name, **inside)
        _check(net.config, asked, channels)
        own = SCALE_1 if asked in STABLE_DIFFUSION_1 else net.config.scaling_factor
        return Autoencoder(net, settings.scaling_factor or own)

    key = ("vae", name, *inside.values(), settings.scaling_factor, channels)
    autoencoder = shared_part(key, Path(name), load)
    autoencoder.slicing(settings.use_slicing)
    return autoencoder


def require_autoencoder(settings: VaeSettings, channels: int) -> None:
    """`ConfigError` where the named autoencoder cannot be loaded or does not fit; reads its description only."""
    asked = settings.pretrained_model_name
    name, inside = _place(settings)
    with loading("vae", asked):
        described: Mapping[str, Any] = fetched(AutoencoderKL.load_config, name, **inside)
    _check(described, asked, channels)


def _check(described: Mapping[str, Any], name: str, channels: int) -> None:
    """`ConfigError` where a description does not fit; what it leaves out has the library's default."""
    kind = described.get("_class_name", AutoencoderKL.__name__)
    if kind != AutoencoderKL.__name__:
        what = f"{name} is a {kind}; the autoencoders that can be used are of the kind {AutoencoderKL.__name__}"
        raise ConfigError([Problem("vae.pretrained_model_name", what)])
    factor, latents = 2 ** (len(described.get("block_out_channels", (64,))) - 1), described.get("latent_channels", 4)
    wrong = []
    if factor != PRETRAINED_FACTOR:
        what = f"{name} has {factor} pixels a side of a latent, not {PRETRAINED_FACTOR}"
        wrong.append(Problem("vae.pretrained_model_name", what))
    if latents != channels:
        what = f"is {channels}, but the latents of {name} have {latents} channels"
        wrong.append(Problem("model.in_channels", what))
    if wrong:
        raise ConfigError(wrong)


def _place(settings: VaeSettings) -> tuple[str, dict[str, str]]:
    """The present name of the autoencoder's repository, and the library's arguments for the folder in it."""
    asked = settings.pretrained_model_name
    usual = "vae" if asked in STABLE_DIFFUSION_1 else subfolder_of(asked, "vae")
    subfolder = settings.subfolder or usual
    return {**STABLE_DIFFUSION_1, **REPACKED}.get(asked, asked), {"subfolder": subfolder} if subfolder else {}
