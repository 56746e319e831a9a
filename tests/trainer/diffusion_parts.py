"""Small real parts for the diffusion tests: a tiny denoiser, data sets in each form, tiny published models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.api import resolve_config

# 24 scenes of 32 px, 19 of them to train on: 3 batches, some 0.1 s an epoch. 0.03 M parameters.
TINY_DIFFUSION: dict[str, Any] = {
    "task": "diffusion",
    "seed": 3,
    "device": "cpu",
    "data": {
        "scenes": {"images": 24, "size": 32, "captions_per_image": 2},
        "image_size": 16,
        "num_workers": 0,
        "freq_threshold": 1,
        "val_split": 0.2,
    },
    "model": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 2,
        "attention_head_dim": 16,
        "patch_size": 2,
        "dropout": 0.1,
    },
    "vae": {"type": "builtin", "downsample_factor": 4, "width": 8, "train_steps": 3, "batch_size": 4},
    "text_encoder": {"type": "builtin", "width": 16, "num_layers": 1, "num_heads": 2},
    "training": {
        "epochs": 3,
        "schedule_epochs": 3,
        "batch_size": 8,
        "precision": "auto",
        "optimizer": {"lr": 2e-3},
        "scheduler": {"warmup_steps": 2},
        "early_stopping": {"enabled": False},
    },
    "checkpoint": {"every_n_epochs": None, "every_n_steps": None},
    "evaluation": {"samples": 2, "sampling_steps": 2, "noise_levels": 2},
}


def tiny_diffusion(folder: Path, *layers: dict[str, Any], **overrides: Any) -> Any:
    """The tiny configuration with its checkpoints in `folder`; `a__b=1` stands for `a.b`."""
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return resolve_config(TINY_DIFFUSION, {"checkpoint.dir": str(folder)}, *layers, dotted)
