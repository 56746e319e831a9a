"""The built-in autoencoder: a small VAE (Kingma and Welling 2014), trained on the training images once and kept.

Its file in the cache folder is named by everything that it depends on, written whole, and checked when read; of several
processes that want it one trains and the others wait.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.checkpoints.files import UNREADABLE
from trainer.errors import ConfigError, DataError, Problem
from trainer.learning.randomness import untouched
from trainer.store.arrays import OnProgress
from trainer.store.cache_folder import cache_dir
from trainer.store.digests import computed_by
from trainer.store.image_cache import images_key
from trainer.store.image_files import AS_IT_IS, Rendering, decode
from trainer.store.locks import locked
from trainer.store.text import write_whole
from trainer.task.batches import in_blocks
from trainer.tasks.diffusion.config_parts import VaeSettings

VERSION = 2  # increased whenever the same settings and images would give other weights
MOST_FOLD = 4  # pixels a side that enter as channels: at full resolution a CPU would spend most of its time
GROUPS = 8
MOST_IMAGE_BYTES = 256 << 20
_FIRST_LOG_VARIANCE = -6.0
_WARM_UP = 0.05
_CLIP = 1.0


class TinyVae(nn.Module):
    """Principal components of square patches, and the library's autoencoder for the rest.

    It starts as the best linear code of its size, which is what a small network would learn first and slowly. Its
    methods are those of the library's autoencoder that `Autoencoder` uses.

    Latents are scaled to the square root of their deviations in pixels. At one deviation for all, a quarter of a
    denoiser's loss would go to the smallest component, which is edges: rare, large, and hardly to be seen. In pixels'
    own proportions the first, light and dark, would outweigh colour.
    """

    def __init__(self, settings: VaeSettings, channels: int) -> None:
        super().__init__()
        self.patch = settings.downsample_factor
        self.fold = min(self.patch, MOST_FOLD)
        halvings = (self.patch // self.fold).bit_length() - 1
        widths = [settings.width * 2**n for n in range(halvings + 1)]
        made: Any = AutoencoderKL(
            in_channels=3 * self.fold**2,
            out_channels=3 * self.fold**2,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            block_out_channels=tuple(widths),
            layers_per_block=1,
            latent_channels=channels,
            norm_num_groups=GROUPS,
            mid_block_add_attention=False,
        )
        self.net = made
        self.to_components = nn.Conv2d(3 * self.patch**2, channels, 1)
        self.from_components = nn.Conv2d(channels, 3 * self.patch**2, 1)

    def encode(self, pixels: Tensor) -> AutoencoderKLOutput:
        """Pixels in [-1, 1], [batch, 3, side, side]."""
        parameters = self.net.encode(F.pixel_unshuffle(pixels, self.fold)).latent_dist.parameters
        mean, log_variance = parameters.chunk(2, dim=1)
        mean = mean + self.to_components(F.pixel_unshuffle(pixels, self.patch))
        posterior = DiagonalGaussianDistribution(torch.cat([mean, log_variance], dim=1))
        return AutoencoderKLOutput(latent_dist=posterior)

    def decode(self, latents: Tensor) -> DecoderOutput:
        rest = F.pixel_shuffle(self.net.decode(latents).sample, self.fold)
        return DecoderOutput(sample=F.pixel_shuffle(self.from_components(latents), self.patch) + rest)

    @torch.no_grad()
    def start_from(self, pixels: Tensor) -> None:
        """Makes latents the first principal components of these images' patches."""
        patches = F.pixel_unshuffle(pixels, self.patch).permute(0, 2, 3, 1).flatten(0, 2).double().cpu()
        middle = patches.mean(dim=0)
        centred = patches - middle
        variances, vectors = torch.linalg.eigh(centred.T @ centred / len(patches))
        channels = self.to_components.out_channels
        deviations = variances[-channels:].clamp_min(1e-8).sqrt()  # flat images have fewer components
        scales = (deviations * deviations.square().mean().sqrt()).sqrt()
        into, back = (vectors[:, -channels:] / scales).T, vectors[:, -channels:] * scales
        self.to_components.weight.copy_(into[:, :, None, None])
        self.to_components.bias.copy_(-into @ middle)  # type: ignore[union-attr]
        self.from_components.weight.copy_(back[:, :, None, None])
        self.from_components.bias.copy_(middle)  # type: ignore[union-attr]
        for layer in (self.net.quant_conv, self.net.decoder.conv_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.net.quant_conv.bias[channels:] = _FIRST_LOG_VARIANCE


class Trained(NamedTuple):
    """A trained VAE as a checkpoint holds it. `seconds` is what it took, 0 where it was there already."""

    state: Mapping[str, Tensor]
    scaling: float
    seconds: float = 0.0


def trained_vae(
    settings: VaeSettings,
    channels: int,
    files: list[Path],
    side_px: int,
    device: torch.device,
    progress: OnProgress | None = None,
    rendering: Rendering = AS_IT_IS,
) -> Trained:
    """The VAE of these settings for these files at this size, from the cache or trained now.

    It sees as many of the files, evenly over the list, as fit into 256 MB of pixels. Raises `ConfigError` where
    training fails, `DataError` where the cache folder cannot be written.
    """
    most = max(2, MOST_IMAGE_BYTES // (3 * side_px**2))
    seen = [files[n] for n in np.linspace(0, len(files) - 1, min(len(files), most)).round().astype(int)]
    own = {name: getattr(settings, name) for name in _OWN}
    images_are = images_key(seen, side_px, rendering=rendering)
    depends_on = [VERSION, own, channels, images_are, computed_by(device), diffusers.__version__]
    key = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:32]
    path = cache_dir() / "vae" / f"{key}.pt"
    trained = _read(path)
    if trained is not None:
        return trained
    tell = progress or (lambda _done, _of: None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock"), lambda: tell(0, settings.train_steps)):
            trained = _read(path)  # another process may have trained it while this one waited
            if trained is None:
                started = time.monotonic()
                images = np.stack([decode(file, side_px, rendering=rendering) for file in seen])
                trained = _trained(settings, channels, images, device, tell)
                _write(path, trained)
                trained = trained._replace(seconds=time.monotonic() - started)
    except OSError as error:
        advice = "the environment variable RUNGWISE_CACHE can name another folder"
        raise DataError(f"{path}: the built-in autoencoder cannot be kept ({error.strerror}); {advice}") from None
    return trained


_OWN = ("downsample_factor", "width", "train_steps", "batch_size", "lr", "kl_weight", "seed")


def _trained(
    settings: VaeSettings, channels: int, images: NDArray[np.uint8], device: torch.device, tell: OnProgress
) -> Trained:
    """Trains on the absolute pixel error and a small divergence; leaves the run's random generators unchanged."""
    with untouched():
        torch.manual_seed(settings.seed)
        net = TinyVae(settings, channels).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.start_from(_pixels(_few(images), device))
    optimizer = torch.optim.AdamW(net.parameters(), lr=settings.lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.lr, total_steps=settings.train_steps + 1, pct_start=_WARM_UP
    )
    noise = torch.Generator(device).manual_seed(settings.seed)
    order = np.random.default_rng(settings.seed)
    for step in range(settings.train_steps):
        some = order.choice(len(images), min(settings.batch_size, len(images)), replace=False)
        loss = _loss(net, _pixels(images[some], device), settings.kl_weight, noise)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), _CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        tell(step + 1, settings.train_steps)
    deviation = _deviation(net.eval(), images, settings.batch_size, device)
    if not deviation > 0.0 or deviation == float("inf"):
        what = f"the built-in autoencoder came to nothing (deviation of its latents {deviation:g}); try a lower rate"
        raise ConfigError([Problem("vae.lr", what)])
    state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    return Trained(state, 1.0 / deviation)


def _loss(net: TinyVae, pixels: Tensor, kl_weight: float, noise: torch.Generator) -> Tensor:
    posterior = net.encode(pixels).latent_dist
    decoded = net.decode(posterior.sample(noise)).sample
    divergence: Tensor = posterior.kl().sum() / posterior.mean.numel()
    return F.l1_loss(decoded, pixels) + kl_weight * divergence


def _pixels(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return pixels.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _deviation(net: TinyVae, images: NDArray[np.uint8], batch: int, device: torch.device) -> float:
    """The root mean square of the latents of some images, by which latents are divided."""
    blocks = [net.encode(_pixels(few, device)).latent_dist.mode() for few in in_blocks(_few(images), batch)]
    return float(torch.cat(blocks).square().mean().sqrt())


def _few(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images[:: max(1, len(images) // 256)]


def _read(path: Path) -> Trained | None:
    """The kept VAE; None where it is missing or damaged."""
    with suppress(OSError, *UNREADABLE):
        digest, content = path.read_bytes().split(b"\n", 1)
        if digest == hashlib.sha256(content).hexdigest().encode():
            state = torch.load(io.BytesIO(content), weights_only=True)
            return Trained(state["state"], state["scaling"])
    return None


def _write(path: Path, trained: Trained) -> None:
    content = io.BytesIO()
    torch.save({"state": dict(trained.state), "scaling": trained.scaling}, content)
    digest = hashlib.sha256(content.getvalue()).hexdigest().encode()
    write_whole(path, digest + b"\n" + content.getvalue())
