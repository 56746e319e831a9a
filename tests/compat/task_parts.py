"""A tiny run of each task by the command: its losses, the keys of its metrics, and the structure of its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from compat_parts import python
from surface_parts import checkpoint_structure, losses, metrics_keys

_TRAINING = {"epochs": 2, "schedule_epochs": 2, "batch_size": 8, "early_stopping": {"enabled": False}}

TASKS: dict[str, dict[str, Any]] = {
    "captioning": {
        "data": {"scenes": {"images": 40, "size": 32, "captions_per_image": 2}, "image_size": 28, "freq_threshold": 1},
        "model": {
            "backbone": "resnet10_thin", "pretrained": False, "encoder_fine_tune": True, "encoded_image_size": 2,
            "embed_size": 16, "encoder_dim": 16, "decoder_dim": 16, "dropout": 0.3,
        },
        "training": {
            "optimizer": {"type": "adam", "lr": 5e-3}, "scheduler": {"type": "cosine", "warmup_steps": 3},
        },
        "evaluation": {"beam_size": 1, "max_length": 10},
    },
    "classification": {
        "data": {"scenes": {"images": 40, "size": 32, "captions_per_image": 1}, "image_size": 32},
        "model": {"load_from": "timm", "backbone_name": "test_resnet"},
        "training": {"optimizer": {"type": "adamw", "lr": 2e-3}, "ema_decay": 0.9},
    },
    "detection": {
        "data": {"scenes": {"images": 24, "size": 64, "captions_per_image": 1}, "image_size": 64},
        "model": {
            "name": "rt_detr_v2", "num_queries": 12, "num_denoising": 0, "d_model": 32, "attention_heads": 2,
            "decoder_layers": 2, "feedforward_dim": 32, "hidden_expansion": 0.5, "levels": 2,
            "backbone_block": "basic", "backbone_stem": 8, "backbone_widths": [8, 16, 24],
            "backbone_depths": [1, 1, 1],
        },
        "training": {
            "batch_size": 4, "val_batch_size": 4, "grad_clip": 1.0, "optimizer": {"type": "adamw", "lr": 2e-3},
        },
    },
    "diffusion": {
        "data": {
            "scenes": {"images": 24, "size": 32, "captions_per_image": 2}, "image_size": 16, "freq_threshold": 1,
            "val_split": 0.2,
        },
        "model": {
            "hidden_size": 32, "num_layers": 2, "num_heads": 2, "attention_head_dim": 16, "patch_size": 2,
            "dropout": 0.1,
        },
        "vae": {"type": "builtin", "downsample_factor": 4, "width": 8, "train_steps": 3, "batch_size": 4},
        "text_encoder": {"type": "builtin", "width": 16, "num_layers": 1, "num_heads": 2},
        "training": {"optimizer": {"lr": 2e-3}, "scheduler": {"warmup_steps": 2}},
        "checkpoint": {"every_n_epochs": None, "every_n_steps": None},
        "evaluation": {"sampling_steps": 2, "noise_levels": 2},
    },
}  # fmt: skip


def configuration(task: str) -> dict[str, Any]:
    own = TASKS[task]
    return {
        "task": task,
        "seed": 3,
        "device": "cpu",
        **own,
        "data": {**own["data"], "num_workers": 0},
        "training": {**_TRAINING, **own["training"]},
        "evaluation": {"samples": 2, **own.get("evaluation", {})},
    }


def facts_of(task: str, folder: Path) -> dict[str, Any]:
    """Trains two epochs, evaluates the last checkpoint, and says what can be seen of it."""
    (folder / "tiny.yaml").write_text(yaml.safe_dump(configuration(task)), encoding="utf-8")
    done = python(folder, "-m", "trainer", "--config", "tiny.yaml", "checkpoint.dir=run")
    assert done.returncode == 0, done.stderr
    run = folder / "run"
    return {
        "losses": losses(run / "metrics.jsonl"),
        "metrics": metrics_keys(run / "metrics.jsonl"),
        "files": sorted(path.name for path in run.iterdir()),
        "checkpoint": checkpoint_structure(run / "last.pth"),
    }
