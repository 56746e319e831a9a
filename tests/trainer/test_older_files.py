"""Configurations of the four earlier set-ups, whole: those of the tasks that are there load, print and train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from classification_parts import write_folders, write_picture
from detection_parts import TINY_DETECTION, coco_content, write_coco
from trainer_parts import TINY, metrics_lines, trained, write_data
from typer.testing import CliRunner

from trainer.api import ConfigError, load_config, parse_yaml, resolve_config, tasks
from trainer.cli import commands as cli
from trainer.config.renames import RENAMES, TASK_RENAMES
from trainer.tasks.classification.transformlist import TRANSFORM_LISTS

OLDER = Path(__file__).parent / "older"
FILES = sorted(path.stem for path in OLDER.glob("*.yaml"))
SPLIT = "optimizer.lr_type: split names no second rate: training.optimizer.encoder_lr = 1e-05, a tenth of the other"
# What the older file said, in today's words.
MEANT: dict[str, dict[str, Any]] = {
    "captioning": {
        "seed": 42,
        "data": {
            "num_workers": 4, "prefetch_factor": 4, "val_split": 0.2, "max_samples": 31000, "freq_threshold": 5,
            "image_size": 224,
        },
        "training": {
            "epochs": 50, "batch_size": 32, "accumulate_grad_batches": 2, "grad_clip": 5.0, "precision": "auto",
            "optimizer": {"type": "adam", "lr": 1e-4, "encoder_lr": 1e-5, "weight_decay": 0.0, "betas": [0.9, 0.999],
                          "eps": 1e-8},
            "scheduler": {"type": "reduce_on_plateau", "factor": 0.5, "patience": 2, "min_lr": 1e-7},
            "early_stopping": {
                "enabled": True, "patience": 5, "min_delta": 1e-4, "track_overfitting": True,
                "overfitting_gap_threshold": 0.5, "overfitting_patience": 3,
            },
        },
        "criterion": {"type": "cross_entropy", "reduction": "mean"},
        "checkpoint": {"dir": "checkpoints", "save": True, "every_n_epochs": 5, "resume": None},
    },
    "detection": {
        "data": {"num_workers": 8, "image_size": 800, "val_split": 0.2},
        "training": {
            "epochs": 50, "batch_size": 4, "precision": "auto", "grad_clip": 0.1, "ema_decay": 0.9997,
            "compile": False, "resize_schedule": [[1, 640], [20, 800]],
            "optimizer": {
                "type": "rmsprop", "lr": 1e-4, "encoder_lr": 1e-5, "weight_decay": 1e-4, "alpha": 0.95,
                "centered": True, "momentum": 0.9,
            },
            "early_stopping": {"enabled": False},
            "scheduler": {"type": "step", "warmup_steps": 1000, "step_size": 40, "gamma": 0.1},
        },
        "checkpoint": {"dir": "outputs/detr_coco", "every_n_epochs": 1, "resume": None},
        "logging": {"every_n_steps": 50},
    },
    "classification": {
        "experiment_name": "parts_resnet34",
        "data": {
            "images_dir": "images", "backgrounds_dir": "backgrounds", "image_size": 224, "val_split": 0.2,
            "data_fraction": 1.0, "insert_background_p": 0.5, "background_max_ratio": 2.0,
            "pre_transforms": [{"name": "Resize", "size": [224, 224]}],
            "train_augmentations": ["RandomHorizontalFlip", {"RandomRotation": {"degrees": 10}}],
            "val_augmentations": [],
            "augmentation_p_schedule": {"start_p": 0.2, "end_p": 0.9, "exponent_factor": 2.0},
        },
        "model": {"weights": None, "backbone_name": "resnet34", "pretrained": True, "in_channels": 3, "n_classes": 10},
        "training": {
            "epochs": 30, "batch_size": 64, "val_batch_size": 128, "precision": "fp16",
            "mixing": {"strategy": "mixup", "p": 0.5, "alpha": 0.2},
            "optimizer": {"type": "sgd", "lr": 0.01, "momentum": 0.9, "nesterov": True},
            "scheduler": {
                "type": "one_cycle", "anneal_strategy": "linear", "pct_start": 0.25, "div_factor": 20.0,
                "final_div_factor": 1000.0,
            },
            "early_stopping": {"enabled": False},
        },
        "criterion": {"type": "cross_entropy"},
        "checkpoint": {"dir": "models"},
    },
    "diffusion": {
        "experiment_name": "dit_coco_256",
        "data": {"dataset_name": "coco", "dataset_path": "coco", "image_size": 256, "val_split": 0.1, "num_workers": 8},
        "model": {"hidden_size": 768, "num_layers": 16, "num_heads": 12, "patch_size": 2},
        "vae": {"pretrained_model_name": "stabilityai/sd-vae-ft-mse-original", "use_slicing": False},
        "text_encoder": {"pretrained_model_name": "openai/clip-vit-large-patch14"},
        "diffusion": {
            "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
            "prediction_type": "epsilon",
        },
        "training": {
            "epochs": 1000, "batch_size": 96, "precision": "bf16", "grad_clip": 1.0, "ema_decay": 0.9999,
            "optimizer": {"lr": 1e-4}, "scheduler": {"type": "cosine", "warmup_steps": 500},
            "early_stopping": {"enabled": False},
        },
        "checkpoint": {"every_n_epochs": 10, "every_n_steps": 500},
        "logging": {"every_n_steps": 50},
    },
}  # fmt: skip


def said(part: Any, whole: Any) -> bool:
    """Whether everything in `part` stands in `whole`."""
    if isinstance(part, dict):
        return all(key in whole and said(value, whole[key]) for key, value in part.items())
    return bool(part == pytest.approx(whole) if isinstance(part, float) else part == whole)


def printed(name: str, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["config", "--from", str(OLDER / f"{name}.yaml"), *words])


@pytest.mark.parametrize("name", sorted(MEANT))
def test_the_canonical_form_says_the_same(name: str) -> None:
    result = printed(name, f"task={name}")
    assert result.exit_code == 0, result.stderr
    canonical = parse_yaml(result.stdout, name)
    assert said({"task": name, **MEANT[name]}, canonical)
    assert resolve_config(canonical) == load_config(OLDER / f"{name}.yaml", {"task": name})
    assert (f"# {SPLIT}\n" in result.stdout) == (name == "detection")


def spelt(tree: dict[str, Any], prefix: str = "") -> set[str]:
    """Every dotted key of a file as it is spelt."""
    below = [spelt(v, f"{prefix}{k}.") if isinstance(v, dict) else {f"{prefix}{k}"} for k, v in tree.items()]
    return set().union(*below)


# Beside those of the table: names with a meaning together, and the sections whose keys have moved as they are.
MORE_SPELLINGS = {
    "training.use_ema", "training.lr_mode", "optimizer.lr_type", "lr_scheduler.type", "lr_scheduler.warmup_steps",
    "dataset.image_size", "dataset.data_fraction", "dataset.insert_background_p", "dataset.background_max_ratio",
    *(f"dataset.{name}" for name in TRANSFORM_LISTS), "wandb.project", "wandb.entity",
    *(f"dataset.augmentation_p_schedule.{name}" for name in ("start_p", "end_p", "exponent_factor")),
    *(f"optimizer.{name}" for name in ("type", "lr", "weight_decay", "betas", "eps", "momentum", "nesterov")),
    *(f"optimizer.{name}" for name in ("alpha", "centered")),
    *(f"scheduler.{name}" for name in ("type", "factor", "patience", "min_lr", "step_size", "gamma")),
    *(f"scheduler.{name}" for name in ("anneal_strategy", "pct_start", "div_factor", "final_div_factor")),
    *(f"early_stopping.{name}" for name in ("enabled", "patience", "min_delta", "track_overfitting")),
    *(f"early_stopping.{name}" for name in ("overfitting_gap_threshold", "overfitting_patience")),
}  # fmt: skip


def test_every_accepted_spelling_stands_in_one_of_the_files() -> None:
    found = set().union(*(spelt(parse_yaml((OLDER / f"{name}.yaml").read_text(), name)) for name in FILES))
    known = {*RENAMES, *MORE_SPELLINGS, *(old for table in TASK_RENAMES.values() for old in table)}
    assert known - found == set()


@pytest.mark.parametrize("name", ["classification", "detection", "diffusion"])
def test_what_a_file_leaves_open_is_said_in_one_block(name: str) -> None:
    head = [line for line in printed(name, f"task={name}").stdout.splitlines() if line.startswith("#")]
    start = head.index("# this file is of an older layout; what it leaves open is decided so:")
    said = head[start + 1 :]
    assert all(line.startswith("#   ") for line in said)
    own = {"detection": "metrics.map = true", "classification": "seed = 42", "diffusion": "seed = 42"}
    assert {f"#   {line}" for line in (own[name], "training.early_stopping.enabled = false")} <= set(said)
    assert not [line for line in said if "training.epochs" in line], "the file says it"


def test_of_a_file_that_leaves_nothing_open_nothing_is_said() -> None:
    assert "#" not in printed("captioning", "task=captioning").stdout


def test_early_stopping_that_is_asked_for_over_an_older_file_is_on() -> None:
    name = "detection"
    assert not load_config(OLDER / f"{name}.yaml", {"task": name}).training.early_stopping.enabled
    asked = load_config(OLDER / f"{name}.yaml", {"task": name, "early_stopping.patience": 3})
    assert (asked.training.early_stopping.enabled, asked.training.early_stopping.patience) == (True, 3)
    today = {"task": name, "data": {"scenes": {}}, "training": {"optimizer": {"type": "AdamW"}}}
    assert resolve_config(today).training.early_stopping.enabled, "not an older layout"
    assert not resolve_config({**today, "training": {"lr": 1e-3}}).training.early_stopping.enabled


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_a_task_asks_for_one(name: str) -> None:
    result = printed(name)
    assert result.exit_code == 2
    place = OLDER / f"{name}.yaml"
    assert result.stderr.strip() == f"error: {place}: task: is missing; name one of: {', '.join(tasks())}"


def test_a_task_that_is_not_there_is_said_with_those_that_are() -> None:
    name = "segmentation"
    result = printed("captioning", f"task={name}")
    assert result.exit_code == 2
    known = f"the tasks are {', '.join(tasks())}, and package.module:object for one of your own"
    assert result.stderr.strip() == f"error: task: unknown task '{name}'; {known}"


def test_an_older_captioner_trains(tmp_path: Path) -> None:
    rows = [(f"{n}.png", f"a thing number {n % 3}") for n in range(12)]
    small = {
        **write_data(tmp_path / "data", rows),
        **{f"model.{key}": value for key, value in TINY["model"].items()},
        "task": "captioning", "device": "cpu", "checkpoint.dir": str(tmp_path / "run"), "data.num_workers": 0,
        "data.freq_threshold": 1, "data.image_size": 28, "training.batch_size": 4, "training.epochs": 1,
    }  # fmt: skip
    outcome = trained(load_config(OLDER / "captioning.yaml", small))
    assert (outcome.ending, outcome.epoch, outcome.step) == ("finished", 1, 2), "12 images, 10 of them in 3 batches"
    assert [line["epoch"] for line in metrics_lines(tmp_path / "run")] == [1]


def test_an_older_detector_trains_and_says_what_it_assumes(tmp_path: Path) -> None:
    sizes = {key: value for key, value in TINY_DETECTION["model"].items() if key not in ("name", "num_denoising")}
    small = {
        **write_coco(tmp_path / "data", coco_content()),
        **{f"model.{key}": value for key, value in sizes.items()},
        "task": "detection", "device": "cpu", "checkpoint.dir": str(tmp_path / "run"), "data.num_workers": 0,
        "data.image_size": 64, "training.resize_schedule": "[[1, 48], [2, 64]]", "training.epochs": 1,
    }  # fmt: skip
    words = [f"{key}={value}" for key, value in small.items()]
    result = CliRunner().invoke(cli.app, ["train", "--config", str(OLDER / "detection.yaml"), *words])
    assert result.exit_code == 0, result.stderr
    assert SPLIT in result.stderr
    assert [line["epoch"] for line in metrics_lines(tmp_path / "run")] == [1]
    assert (tmp_path / "run" / "checkpoint_epoch_1.pth").exists()


def test_an_older_classifier_trains_on_pasted_images(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {str(n): 2 for n in range(10)})
    write_picture(tmp_path / "backgrounds" / "one.png")
    small = {
        "task": "classification", "directories.images": str(tmp_path / "images"),
        "directories.backgrounds": str(tmp_path / "backgrounds"), "directories.models": str(tmp_path / "run"),
        "device": "cpu", "dataset.image_size": 32, "data.num_workers": 0, "model.pretrained": False,
        "training.precision": "auto", "dataset.data_loaders.train_batch_size": 8, "training.max_epochs": 1,
    }  # fmt: skip
    outcome = trained(load_config(OLDER / "classification.yaml", small))
    assert (outcome.ending, outcome.epoch, outcome.step) == ("finished", 1, 2)
    assert set(metrics_lines(tmp_path / "run")[0]["metrics"]) >= {"accuracy", "f1_macro", "top5_accuracy"}


def test_a_mistake_in_an_older_file_names_the_file_and_its_spelling(tmp_path: Path) -> None:
    text = (OLDER / "captioning.yaml").read_text().replace("num_epochs: 50", "num_epochs: fifty\n  max_epochs: 50")
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "wrong.yaml", {"task": "captioning"})
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'wrong.yaml'}: training.num_epochs: must be a whole number, not 'fifty'",
        f"{tmp_path / 'wrong.yaml'}: training.max_epochs: is set twice (training.num_epochs and training.max_epochs "
        "are the same key)",
    ]
