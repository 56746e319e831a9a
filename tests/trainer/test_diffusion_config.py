"""The diffusion configuration: its defaults, its constraints, and the older spellings of its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diffusion_parts import TINY_DIFFUSION, tiny_diffusion

from trainer.api import ConfigError, assumptions, canonical_overrides, check_data, known_keys, metric_of, resolve_config

BASE: dict[str, Any] = {"task": "diffusion", "data.scenes": {}}
DEFAULTS = {
    "data.image_size": 256, "data.dataset_name": "coco", "data.num_workers": 8, "data.val_split": 0.1,
    "model.hidden_size": 768, "model.num_layers": 16, "model.num_heads": 12, "model.patch_size": 2,
    "model.in_channels": 4, "model.out_channels": 4, "model.attention_head_dim": 64, "model.mlp_ratio": 4.0,
    "model.dropout": 0.1, "vae.type": "pretrained", "vae.use_slicing": False, "text_encoder.type": "pretrained",
    "diffusion.num_train_timesteps": 1000, "diffusion.beta_start": 0.00085, "diffusion.beta_end": 0.012,
    "diffusion.beta_schedule": "scaled_linear", "diffusion.prediction_type": "epsilon", "training.batch_size": 96,
    "training.epochs": 1000, "training.optimizer.lr": 1e-4, "training.precision": "bf16", "training.grad_clip": 1.0,
    "training.optimizer.type": "adamw", "training.optimizer.weight_decay": 0.01, "training.scheduler.type": "cosine",
    "training.scheduler.warmup_steps": 500, "checkpoint.every_n_epochs": 10, "checkpoint.every_n_steps": 500,
}  # fmt: skip


def value_at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


def problems(**overrides: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve_config(BASE, {key.replace("__", "."): value for key, value in overrides.items()})
    return str(caught.value)


def test_the_defaults_are_those_of_the_first_set_up() -> None:
    config = resolve_config(BASE)
    assert {path: value_at(config, path) for path in DEFAULTS} == DEFAULTS
    assert metric_of(config).name == "loss"
    assert metric_of(config).direction == "minimize"


@pytest.mark.parametrize(("size", "near"), [(100, "96 or 104"), (17, "16 or 24"), (255, "248 or 256")])
def test_a_size_that_is_no_multiple_of_8_names_the_nearest_two(size: int, near: str) -> None:
    assert f"data.image_size={size} must be a multiple of 8: {near}" in problems(data__image_size=size)


def test_a_size_that_patches_do_not_fill_names_the_multiple_and_the_nearest_two() -> None:
    said = problems(data__image_size=264)
    assert (
        "data.image_size=264 must be a multiple of 16 (the VAE's 8 pixels times model.patch_size=2): 256 or 272" in said
    )
    assert "multiple of 32" in problems(data__image_size=48, model__patch_size=4)
    small = {"vae.type": "builtin", "vae.downsample_factor": 4}
    assert resolve_config(BASE, small, {"data.image_size": 264}).data.image_size == 264
    assert "multiple of 24" in problems(**small, data__image_size=32, model__patch_size=3)


def test_every_size_of_a_resize_schedule_is_checked() -> None:
    said = problems(training__resize_schedule=[[1, 100], [2, 128], [3, 136]])
    assert "96 or 104" in said
    assert "128 or 144" in said


def test_heads_divide_the_width_and_their_widths_add_up_to_it() -> None:
    assert "hidden_size=768 is not divisible by num_heads=10" in problems(model__num_heads=10)
    said = problems(model__num_heads=8)
    assert "num_heads=8 × attention_head_dim=64 is 512, not hidden_size=768 (attention_head_dim=96 would fit)" in said
    assert resolve_config(BASE, {"model.num_heads": 8, "model.attention_head_dim": None}).model.head_dim == 96
    for hidden, layers, heads in ((384, 8, 6), (1024, 24, 16)):
        sizes = {"model.hidden_size": hidden, "model.num_layers": layers, "model.num_heads": heads}
        assert resolve_config(BASE, sizes).model.head_dim == 64


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"model__hidden_size": 18, "model__num_heads": 1, "model__attention_head_dim": 18}, "is not a multiple of 4"),
        ({"model__out_channels": 8}, "out_channels=8 must be in_channels=4"),
        ({"model__mlp_ratio": 1e-4}, "leaves the MLP without a unit"),
        ({"diffusion__beta_start": 0.5}, "beta_start=0.5 must not be above beta_end=0.012"),
        ({"diffusion__prediction_type": "v"}, "must be one of epsilon, v_prediction, not 'v'"),
        ({"evaluation__sampling_steps": 2000}, "is more than diffusion.num_train_timesteps=1000"),
        ({"diffusion__num_train_timesteps": 60, "evaluation__noise_levels": 61}, "evaluation.noise_levels=61 is more"),
        ({"evaluation__prompts": ["a", " "]}, "every prompt must have words"),
        ({"evaluation__prompts": []}, "every prompt must have words"),
        ({"vae__width": 12}, "must be a multiple of 8"),
        ({"vae__downsample_factor": 3}, "must be one of 2, 4, 8"),
        ({"text_encoder__type": "builtin", "text_encoder__width": 30}, "width=30 is not divisible by num_heads=4"),
        ({"data__vocab_path": "v.json"}, "data.vocab_path belongs to text_encoder.type=builtin"),
        ({"metrics__frechet_weights": "w.pth"}, "frechet_weights need frechet_backbone"),
        ({"metrics__frechet_backbone": "resnet17"}, "torchvision has no classification model resnet17; did you"),
        ({"data__images_dir": "x"}, "images_dir and caption_file belong together"),
        ({"criterion__type": "cross_entropy"}, "must be one of mse, l1, smooth_l1"),
        ({"model__hidden_size": 770}, "not divisible by num_heads=12; num_heads=12 × attention_head_dim=64 is 768"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_before_anything_runs(overrides: dict[str, Any], words: str) -> None:
    assert words in problems(**overrides)


def test_without_data_the_two_ways_to_name_some_are_told() -> None:
    with pytest.raises(ConfigError, match="name dataset_path, or a scenes section"):
        resolve_config({"task": "diffusion"})


def test_the_noise_of_an_older_file_is_not_its_learning_rate() -> None:
    older = {
        "scheduler": {"type": "DDPMScheduler", "num_train_timesteps": 500, "beta_start": 1e-4, "beta_end": 0.02,
                      "beta_schedule": "linear", "prediction_type": "v_prediction"},
        "lr_scheduler": {"type": "CosineAnnealingLR", "warmup_steps": 7},
    }  # fmt: skip
    assert canonical_overrides(older, "diffusion") == {
        "diffusion.num_train_timesteps": 500, "diffusion.beta_start": 1e-4, "diffusion.beta_end": 0.02,
        "diffusion.beta_schedule": "linear", "diffusion.prediction_type": "v_prediction",
        "training.scheduler.type": "cosine", "training.scheduler.warmup_steps": 7,
    }  # fmt: skip
    assert canonical_overrides({"scheduler.type": "StepLR"}, "diffusion") == {"training.scheduler.type": "step"}
    noise = ("DDPM", "ddim", "DDIMScheduler", "ddpm_scheduler", "PNDMScheduler", "EulerDiscreteScheduler", "DPM-Solver")
    for name in (*noise, "DPMSolverMultistepScheduler"):
        assert canonical_overrides({"scheduler.type": name}, "diffusion") == {}
    for name, rate in (("cosine", "cosine"), ("OneCycleLR", "one_cycle"), ("constant", "constant")):
        assert canonical_overrides({"scheduler.type": name}, "diffusion") == {"training.scheduler.type": rate}
    with pytest.raises(ConfigError, match=r"scheduler\.type: must be one of reduce_on_plateau"):
        canonical_overrides({"scheduler.type": "DDPM"}, "captioning")
    with pytest.raises(ConfigError, match=r"scheduler\.beta_start: unknown key"):
        canonical_overrides({"scheduler.beta_start": 1e-4}, "captioning")


def test_a_split_that_is_not_said_is_told() -> None:
    (line,) = assumptions({"task": "diffusion"}, "diffusion")
    assert "data.train_split is not given: 0.9" in line
    for said in ({"data": {"train_split": 0.8}}, {"data.val_split": 0.2}, {"dataset.val_part": 0.3}):
        assert not assumptions(said, "diffusion")
        assert not assumptions({}, "diffusion", said)
    assert resolve_config(BASE, {"data.train_split": 0.8}).data.val_split == pytest.approx(0.2)


def test_what_has_no_effect_is_said(tmp_path: Path) -> None:
    config = tiny_diffusion(
        tmp_path, training__optimizer__encoder_lr=1e-5, training__subset_size=100,
        metrics__frechet_backbone="resnet18",
    )  # fmt: skip
    subset, rate, frechet = check_data(config).warnings
    assert "subset of 100 images asked for" in subset
    assert "encoder_lr has no effect" in rate
    assert "metrics.frechet_images=500 is more than the 5 validation images" in frechet


def test_every_number_of_the_model_can_be_searched() -> None:
    keys = known_keys("diffusion")
    sections = ("model.", "vae.", "text_encoder.", "diffusion.", "evaluation.")
    numbers = [key for path, key in keys.items() if path.startswith(sections) and key.kind in ("int", "float")]
    open_ended = {key.path for key in numbers if key.low is None or key.high is None}
    assert open_ended <= {"vae.seed"}
    assert resolve_config(TINY_DIFFUSION).plain()["task"] == "diffusion"
