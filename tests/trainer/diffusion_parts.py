"""Small real parts for the diffusion tests: a tiny denoiser, data sets in each form, tiny published models."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

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


def write_captions(folder: Path, images: int = 10) -> list[tuple[str, str]]:
    """Images of noise, 20 × 28 px, and two captions of each."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(images):
        pixels = np.random.default_rng(number).integers(0, 255, (20, 28, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        rows += [(f"{number}.png", f"a thing number {number % 3}"), (f"{number}.png", f"thing {number % 4} again")]
    return rows


def write_custom(folder: Path, rows: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A CSV beside the images, and the overrides that name both."""
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    return {"data.dataset_name": "custom", "data.dataset_path": str(folder)}


def coco_captions(rows: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """COCO's form, ids with gaps."""
    ids = {name: 100 + 3 * number for number, name in enumerate(dict.fromkeys(name for name, _ in rows))}
    return {
        "images": [{"id": number, "file_name": name} for name, number in ids.items()],
        "annotations": [{"id": n, "image_id": ids[name], "caption": text} for n, (name, text) in enumerate(rows)],
    }


def write_coco_captions(folder: Path, content: Any, name: str = "captions.json") -> dict[str, Any]:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return {"data.dataset_name": "coco", "data.dataset_path": str(folder)}


def save_vae(folder: Path, channels: int = 4, factor: int = 8, seed: int = 0) -> Path:
    """An autoencoder in the published form, 0.1 M random weights."""
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    widths = (8,) * factor.bit_length()
    net = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        latent_channels=channels,
        norm_num_groups=4,
        scaling_factor=0.5,
    )
    net.save_pretrained(folder)
    return folder


def save_clip(folder: Path, seed: int = 0) -> Path:
    """A CLIP text model with a tokenizer of single letters, in the published form."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    torch.manual_seed(seed)
    settings = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=20,
        bos_token_id=len(words) - 2,
        eos_token_id=len(words) - 1,
        pad_token_id=len(words) - 1,
    )
    CLIPTextModel(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
