"""The configuration of a text-to-image diffusion run."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from trainer.config.data_settings import LARGEST_PX, SMALLEST_PX, DataSettings, nearest_multiples
from trainer.config.section import AS_TUPLE, AbsolutePath, Section, setting
from trainer.config.settings import (
    CheckpointSettings,
    OptimizerSettings,
    RunConfig,
    ScheduleName,
    SchedulerSettings,
    TrainingSettings,
    schedule_name,
)
from trainer.data.library_models import backbone_names, no_backbone
from trainer.tasks.diffusion.config_parts import TextEncoderSettings, VaeSettings

MULTIPLE_PX = 8  # image sizes are multiples of it
_COSINE_SIGNAL = 1e-9  # approximately: its last level adds 0.999 of what can be added, for any number of levels


Texts = Annotated[tuple[str, ...], AS_TUPLE]


class DiffusionData(DataSettings):
    ROLES = frozenset({"use"})
    image_size: int = setting(
        256,
        "square side in pixels, a multiple of 8; the budget's resolution sets it",
        role="loss",
        ge=SMALLEST_PX,
        le=LARGEST_PX,
    )
    num_workers: int = setting(
        8,
        "processes that load data, no more than a slot's share of the cores; 0 loads in the training process, "
        "as always on Windows and where all images or latents come from the cache",
        ge=0,
        le=256,
    )
    val_split: float = setting(0.1, "share of the images held out for validation", gt=0.0, lt=1.0)
    dataset_name: Literal["coco", "cub", "custom"] = setting(
        "coco",
        "how dataset_path is laid out. coco: captions*.json, also in annotations/, and a folder of images; cub: "
        "images/ and text_c10/ or text/ with a text file beside each image's name, a caption a line; custom: "
        "captions.csv (image,caption) or another file of captions as in captioning, and images/",
        role="data",
    )
    dataset_path: AbsolutePath | None = setting(None, "folder of the data set; null = the built-in scenes")
    images_dir: AbsolutePath | None = setting(None, "the folder of images where it is not in dataset_path")
    caption_file: AbsolutePath | None = setting(
        None, "the captions (a file of any form; cub: folder of texts) where they are not in dataset_path"
    )
    vocab_path: AbsolutePath | None = setting(
        None, "built-in text encoder: JSON with word_to_idx and freq_threshold, loaded or built and saved there"
    )
    freq_threshold: int = setting(
        5, "built-in text encoder: words seen less often become <UNK>", role="data", search=(1, 100), ge=1
    )

    @model_validator(mode="after")
    def _some_data(self) -> Self:
        pair = [self.images_dir is not None, self.caption_file is not None]
        if self.dataset_path is None and any(pair) and not all(pair):
            raise ValueError("without dataset_path, images_dir and caption_file belong together; one is missing")
        if not self.named_files and self.scenes is None:
            raise ValueError("name dataset_path, or a scenes section for the built-in data")
        return self

    @property
    def named_files(self) -> bool:
        return self.dataset_path is not None or self.caption_file is not None


class DiffusionModel(Section):
    """A transformer over patches of latents (Peebles and Xie 2023) that attends to the text (Chen et al. 2023)."""

    hidden_size: int = setting(768, "width; a multiple of 4 and of num_heads", scale="log", search=(32, 4096), ge=4)
    num_layers: int = setting(16, "blocks", search=(1, 64), ge=1)
    num_heads: int = setting(12, "heads of each attention", search=(1, 64), ge=1)
    attention_head_dim: int | None = setting(
        64, "width of a head: num_heads times it is hidden_size; null = hidden_size / num_heads", search=(4, 256), ge=1
    )
    patch_size: int = setting(2, "side of a patch in latents", search=(1, 8), ge=1)
    in_channels: int = setting(4, "channels of the latents", role="loss", ge=1, le=64)
    out_channels: int = setting(4, "channels of what is predicted: those of the latents", ge=1, le=64)
    mlp_ratio: float = setting(4.0, "inner width of a block's MLP over hidden_size", search=(1.0, 8.0), gt=0.0)
    dropout: float = setting(0.1, "after attention and in the MLP of each block", ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        hidden, heads, head = self.hidden_size, self.num_heads, self.attention_head_dim
        wrong = []
        if hidden % heads:
            wrong.append(f"hidden_size={hidden} is not divisible by num_heads={heads}")
        if head is not None and heads * head != hidden:
            fits = f" (attention_head_dim={hidden // heads} would fit)" if hidden % heads == 0 else ""
            wrong.append(
                f"num_heads={heads} × attention_head_dim={head} is {heads * head}, not hidden_size={hidden}{fits}"
            )
        if hidden % 4:
            wrong.append(f"hidden_size={hidden} is not a multiple of 4, which the positions' sines and cosines need")
        if self.out_channels != self.in_channels:
            what = f"out_channels={self.out_channels} must be in_channels={self.in_channels}"
            wrong.append(f"{what}: a variance is not predicted")
        if round(self.mlp_ratio * hidden) < 1:
            wrong.append(f"mlp_ratio={self.mlp_ratio:g} leaves the MLP without a unit")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads


class NoiseSettings(Section):
    """The noise process, and what the model predicts of it."""

    num_train_timesteps: int = setting(1000, "levels of noise", role="loss", ge=2, le=100_000)
    beta_start: float = setting(
        0.00085, "share of noise added at the first level", role="loss", search=(1e-6, 0.1), gt=0.0, lt=1.0
    )
    beta_end: float = setting(
        0.012, "share of noise added at the last level", role="loss", search=(1e-4, 0.5), gt=0.0, lt=1.0
    )
    beta_schedule: Literal["scaled_linear", "linear", "squaredcos_cap_v2"] = setting(
        "scaled_linear",
        "from beta_start to beta_end; the squared cosine (Nichol and Dhariwal 2021) has its own ends",
        role="loss",
    )
    prediction_type: Literal["epsilon", "v_prediction"] = setting(
        "epsilon", "the noise, or the velocity (Salimans and Ho 2022)", role="loss"
    )
    caption_dropout: float = setting(
        0.1, "share of training captions that are left empty, for classifier-free guidance", ge=0.0, le=1.0
    )

    @model_validator(mode="after")
    def _noise_grows(self) -> Self:
        if self.beta_schedule != "squaredcos_cap_v2" and self.beta_start > self.beta_end:
            raise ValueError(f"beta_start={self.beta_start:g} must not be above beta_end={self.beta_end:g}")
        return self

    @property
    def least_signal(self) -> float:
        """The share of the signal's variance at the last level: the product of the shares that each level leaves."""
        if self.beta_schedule == "squaredcos_cap_v2":
            return _COSINE_SIGNAL
        power = 2.0 if self.beta_schedule == "scaled_linear" else 1.0
        ends = self.beta_start ** (1.0 / power), self.beta_end ** (1.0 / power)
        return float(np.exp(np.log1p(-(np.linspace(*ends, self.num_train_timesteps) ** power)).sum()))


class DiffusionCriterion(Section):
    ROLES = frozenset({"use"})
    type: Literal["mse", "l1", "smooth_l1"] = setting(
        "mse", "distance of the prediction, a mean over an image's latents", role="loss"
    )
    reduction: Literal["mean", "sum"] = setting(
        "mean", "gradients of a batch's mean loss, or of its sum; reported losses are means in both cases"
    )


class DiffusionEvaluation(Section):
    noise_levels: int = setting(
        4,
        "levels of noise at which each validation image is judged, one from each of so many equal ranges",
        role="loss",
        ge=1,
        le=1000,
    )
    samples: int = setting(6, "images that are generated at each evaluation, for the report", ge=0, le=100)
    prompts: Texts | None = setting(None, "what they show; null = the captions of the first validation images")
    sampling_steps: int = setting(50, "steps of DDIM (Song et al. 2021)", search=(1, 1000), ge=1)
    guidance_scale: float = setting(
        5.0, "classifier-free guidance (Ho and Salimans 2022); 1 = none", search=(1.0, 20.0), ge=0.0
    )

    @field_validator("prompts")
    @classmethod
    def _some_words(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or not all(isinstance(text, str) and text.strip() for text in value)):
            raise ValueError("every prompt must have words; null takes the validation captions")
        return value


class DiffusionMetrics(Section):
    frechet_backbone: str | None = setting(
        None,
        "also report the Fréchet distance (Heusel et al. 2017) of generated to validation images in the features of "
        "this torchvision classifier, such as resnet18; null = no",
    )
    frechet_weights: AbsolutePath | None = setting(None, "a file with its state dict, in place of a download")
    frechet_images: int = setting(500, "so many validation images, and as many generated from their captions", ge=2)

    @model_validator(mode="after")
    def _backbone_exists(self) -> Self:
        name = self.frechet_backbone
        if name is not None and name not in backbone_names("torchvision"):
            raise ValueError(f"frechet_backbone: {no_backbone('torchvision', name)}")
        if self.frechet_weights is not None and name is None:
            raise ValueError("frechet_weights need frechet_backbone, the name of their network")
        return self


class DiffusionOptimizer(OptimizerSettings):
    type: Literal["adam", "adamw", "sgd", "rmsprop"] = setting("adamw", "the optimizer")
    weight_decay: float | None = setting(0.01, "null = PyTorch's default", search=(0.0, 1.0), ge=0.0)


class DiffusionScheduler(SchedulerSettings):
    type: ScheduleName = schedule_name("cosine")
    warmup_steps: int = setting(500, "optimizer steps of linear warm-up from 0 (not with one_cycle)", ge=0)


class DiffusionTraining(TrainingSettings):
    epochs: int = setting(1000, "at most; early stopping may end sooner", ge=1, le=1_000_000)
    batch_size: int = setting(96, "images per batch", scale="log", search=(1, 4096), ge=1)
    grad_clip: float = setting(1.0, "largest global gradient norm; 0 turns clipping off", search=(0.0, 1e3), ge=0.0)
    precision: Literal["auto", "bf16", "fp16", "fp32"] = setting(
        "bf16", "auto is bf16 where the GPU has it, else fp16 with a gradient scaler; fp32 on a CPU"
    )
    optimizer: DiffusionOptimizer = DiffusionOptimizer()
    scheduler: DiffusionScheduler = DiffusionScheduler()


class DiffusionCheckpoint(CheckpointSettings):
    every_n_epochs: int | None = setting(10, "also keep checkpoint_epoch_{N}.pth so often", ge=1)
    every_n_steps: int | None = setting(500, "also write last.pth every so many steps", ge=1)


class DiffusionConfig(RunConfig):
    """`task: diffusion`."""

    task: Literal["diffusion"] = setting("diffusion", "what is trained")
    data: DiffusionData
    model: DiffusionModel = DiffusionModel()
    vae: VaeSettings = Field(default_factory=VaeSettings)
    text_encoder: TextEncoderSettings = Field(default_factory=TextEncoderSettings)
    diffusion: NoiseSettings = NoiseSettings()
    criterion: DiffusionCriterion = DiffusionCriterion()
    training: DiffusionTraining = DiffusionTraining()
    checkpoint: DiffusionCheckpoint = Field(default_factory=DiffusionCheckpoint)
    evaluation: DiffusionEvaluation = DiffusionEvaluation()
    metrics: DiffusionMetrics = DiffusionMetrics()

    @model_validator(mode="after")
    def _the_parts_fit(self) -> Self:
        mistakes = [mistake for size in self.image_sizes for mistake in self._misfits(size)]
        levels, steps = self.diffusion.num_train_timesteps, self.evaluation.sampling_steps
        if steps > levels:
            what = f"evaluation.sampling_steps={steps} is more than diffusion.num_train_timesteps={levels}"
            mistakes.append(what)
        if self.evaluation.noise_levels > levels:
            what = f"evaluation.noise_levels={self.evaluation.noise_levels} is more than"
            mistakes.append(f"{what} diffusion.num_train_timesteps={levels}")
        if self.text_encoder.type == "pretrained" and self.data.vocab_path is not None:
            mistakes.append("data.vocab_path belongs to text_encoder.type=builtin")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _misfits(self, size: int) -> list[str]:
        factor, patch = self.vae.factor, self.model.patch_size
        step = math.lcm(MULTIPLE_PX, factor * patch)
        if size % step == 0:
            return []
        asked = [f"of {MULTIPLE_PX}: {nearest_multiples(size, MULTIPLE_PX)}"] if size % MULTIPLE_PX else []
        if step > MULTIPLE_PX:
            why = f"the VAE's {factor} pixels times model.patch_size={patch}"
            asked.append(f"of {step} ({why}): {nearest_multiples(size, step)}")
        return [f"data.image_size={size} must be a multiple {', and '.join(asked)}"]
