"""The configuration of the VAE and the text encoder of a diffusion run."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import field_validator, model_validator

from trainer.config.section import HubOrFolder, Section, setting

PRETRAINED_FACTOR = 8  # pixels a side of a latent, of every published Stable Diffusion VAE


class VaeSettings(Section):
    """The autoencoder of latents; frozen."""

    type: Literal["pretrained", "builtin"] = setting(
        "pretrained",
        "a published autoencoder, or a tiny one that is trained on the training images once and kept",
        role=("loss", "data"),
    )
    pretrained_model_name: HubOrFolder = setting(
        "stabilityai/sd-vae-ft-mse",
        "a hub's name, or a folder with config.json and weights",
        role=("loss", "data", "use"),
        min_length=1,
    )
    subfolder: str | None = setting(
        None, "where in it the autoencoder is; null = at the top, or in vae/", role=("loss", "data", "use")
    )
    scaling_factor: float | None = setting(
        None,
        "pretrained: latents are multiplied by it; null = what the autoencoder says",
        role="loss",
        search=(0.01, 10.0),
        gt=0.0,
    )
    use_slicing: bool = setting(False, "decode one image at a time: slower, in less memory", role="use")
    downsample_factor: Literal[2, 4, 8] = setting(8, "builtin: pixels a side of a latent", role="loss")
    width: int = setting(
        64, "builtin: channels of its network; a multiple of 8", role="loss", search=(8, 256), ge=8, le=512
    )
    train_steps: int = setting(400, "builtin: steps that it is trained for", role="loss", search=(1, 100_000), ge=1)
    batch_size: int = setting(16, "builtin: images a step", role="loss", search=(1, 512), ge=1)
    lr: float = setting(2e-3, "builtin: highest learning rate", role="loss", scale="log", search=(1e-6, 1.0), gt=0.0)
    kl_weight: float = setting(
        1e-4, "builtin: weight of the latents' divergence from N(0, 1)", role="loss", search=(0.0, 1.0), ge=0.0
    )
    seed: int = setting(0, "builtin: its weights and batches", role="loss", ge=0)

    @field_validator("width")
    @classmethod
    def _whole_groups(cls, value: int) -> int:
        if value % 8:
            raise ValueError("must be a multiple of 8, the groups of its normalisation")
        return value

    @model_validator(mode="after")
    def _the_builtin_scales_itself(self) -> Self:
        if self.type == "builtin" and self.scaling_factor is not None:
            raise ValueError("scaling_factor belongs to type=pretrained: the built-in one scales its own latents")
        return self

    @property
    def factor(self) -> int:
        """Pixels a side of a latent."""
        return PRETRAINED_FACTOR if self.type == "pretrained" else self.downsample_factor


class TextEncoderSettings(Section):
    type: Literal["pretrained", "builtin"] = setting(
        "pretrained", "a published CLIP text model, frozen, or a small one that is trained with the rest", role="data"
    )
    pretrained_model_name: HubOrFolder = setting(
        "openai/clip-vit-large-patch14",
        "a hub's name, or a folder with a saved text model and its tokenizer",
        role=("data", "use"),
        min_length=1,
    )
    subfolder: str | None = setting(
        None, "where in it the text model is; null = at the top, or in text_encoder/", role=("data", "use")
    )
    max_length: int | None = setting(
        None, "longest caption in tokens, the rest is cut; null = what the model takes (builtin: 48)", ge=3, le=4096
    )
    width: int = setting(128, "builtin: width of its layers", scale="log", search=(16, 2048), ge=4)
    num_layers: int = setting(2, "builtin: transformer layers", search=(0, 24), ge=0)
    num_heads: int = setting(4, "builtin: heads of each attention", search=(1, 32), ge=1)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.type == "builtin" and self.width % self.num_heads:
            raise ValueError(f"width={self.width} is not divisible by num_heads={self.num_heads}")
        return self
