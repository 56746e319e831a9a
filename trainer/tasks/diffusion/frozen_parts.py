"""The frozen parts of a run: their sources, and what a checkpoint holds of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.errors import CheckpointError
from trainer.learning.precision import decide_device
from trainer.store.arrays import OnProgress
from trainer.store.image_files import AS_IT_IS, Rendering
from trainer.tasks.diffusion.autoencoder import Autoencoder, builtin_autoencoder, pretrained_autoencoder
from trainer.tasks.diffusion.config import DiffusionConfig
from trainer.tasks.diffusion.text import FrozenText, pretrained_text
from trainer.tasks.diffusion.tinyvae import Trained, trained_vae


class FrozenParts:
    """Autoencoder and text model. Published ones stay out of checkpoints, which name their weights and refuse others;
    the built-in autoencoder is in them.
    """

    def __init__(self, config: DiffusionConfig, extras: Mapping[str, Any] | None) -> None:
        self.config = config
        vae = extras["vae"] if extras else None
        self._trained = Trained(vae["state"], vae["scaling"]) if vae else None
        self._expected: Mapping[str, str] = extras["weights"] if extras else {}
        self._autoencoder: Autoencoder | None = None

    def trained_on(self, files: Sequence[Path], progress: OnProgress | None, rendering: Rendering = AS_IT_IS) -> str:
        """Trains the built-in autoencoder on these files if there is none yet; returns a note if it did."""
        config = self.config
        if config.vae.type != "builtin" or self._trained is not None:
            return ""
        side, device = config.data.image_size, decide_device(config.device)
        channels = config.model.in_channels
        self._trained = trained_vae(config.vae, channels, list(files), side, device, progress, rendering)
        seconds = self._trained.seconds
        return f"the built-in autoencoder was trained at {side} px in {seconds:.1f} s, for all runs" if seconds else ""

    def autoencoder(self) -> Autoencoder:
        """The autoencoder, loaded at first use."""
        if self._autoencoder is None:
            config = self.config
            if config.vae.type == "builtin":
                assert self._trained is not None, "rows are opened, or extras given, before anything else"
                self._autoencoder = builtin_autoencoder(config.vae, config.model.in_channels, self._trained)
            else:
                self._autoencoder = pretrained_autoencoder(config.vae, config.model.in_channels)
                self._check("vae", self._autoencoder.digest)
        return self._autoencoder

    def text(self) -> FrozenText:
        """The published text model."""
        text = pretrained_text(self.config.text_encoder)
        self._check("text_encoder", text.digest)
        return text

    def extras(self) -> dict[str, Any]:
        """The built-in autoencoder's weights; of published parts, the digest of their weights."""
        weights: dict[str, str] = {}
        if self.config.vae.type == "pretrained":
            weights["vae"] = self.autoencoder().digest
        if self.config.text_encoder.type == "pretrained":
            weights["text_encoder"] = self.text().digest
        trained = self._trained
        vae = {"state": dict(trained.state), "scaling": trained.scaling} if trained is not None else None
        return {"vae": vae, "weights": weights}

    def _check(self, section: str, digest: str) -> None:
        if self._expected.get(section, digest) != digest:
            named = f"{section}.pretrained_model_name"
            raise CheckpointError(f"the checkpoint was trained with other weights than those of {named} are now")
