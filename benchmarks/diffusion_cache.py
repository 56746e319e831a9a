"""A diffusion epoch from the cache of latents and text vectors against one that encodes, and what filling it costs.

    python benchmarks/diffusion_cache.py [--images 48] [--size 64] [--rounds 3] [--builtin]

The transformer is the small one of the parameters' table (384 wide, 8 layers), its frozen parts have the shapes of
Stable Diffusion's autoencoder and of CLIP's large text model, with random weights: their arithmetic is the same, and
nothing is downloaded. With --builtin it is configs/diffusion_small.yaml, whose tiny autoencoder costs little anyway and
whose text encoder is trained. Both epochs are those of the training loop, in turn, round after round, on shapes scenes;
the medians of the processor time (all threads of the process) count. One thread on a CPU; a GPU where one is there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from trainer.api import Hooks, prepare_data, resolve_config
from trainer.config.yaml import read_yaml
from trainer.run.loop import _train_epoch
from trainer.run.run import Run, open_run

SMALL = Path(__file__).parents[1] / "configs" / "diffusion_small.yaml"
CHARACTERS = "abcdefghijklmnopqrstuvwxyz"


def save_published(folder: Path) -> dict[str, str]:
    """Models of the published shapes with random weights, and the overrides that name them."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
    ).save_pretrained(folder / "vae")
    text = folder / "text"
    text.mkdir()
    words = [*CHARACTERS, *(f"{one}</w>" for one in CHARACTERS), "<|startoftext|>", "<|endoftext|>"]
    (text / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (text / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(text).save_pretrained(text)
    end = len(words) - 1
    large = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        bos_token_id=end - 1, eos_token_id=end, pad_token_id=end,
    )  # fmt: skip
    CLIPTextModel(large).save_pretrained(text)
    return {"vae.pretrained_model_name": str(folder / "vae"), "text_encoder.pretrained_model_name": str(text)}


def settings_of(folder: Path, asked: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """One configuration for both epochs: a file's, and what is laid over it."""
    data = {
        "data.scenes.images": round(asked.images / 0.9),
        "data.image_size": asked.size,
        "data.num_workers": 0,
        "checkpoint.dir": str(folder / "run"),
        "training.batch_size": 16,
        "training.epochs": 1_000_000,
    }
    if asked.builtin:
        return read_yaml(SMALL), data
    model = {"model.hidden_size": 384, "model.num_layers": 8, "model.num_heads": 6, "training.precision": "auto"}
    return {"task": "diffusion"}, {"data.scenes.size": 64, **data, **model, **save_published(folder)}


def epoch_seconds(run: Run) -> float:
    """Processor seconds of an epoch of the training loop, or on a GPU seconds."""
    run.progress.batches, run.progress.weight = 0, 0.0
    gpu = run.device.type == "cuda"
    if gpu:
        torch.cuda.synchronize()
    started = time.monotonic() if gpu else time.process_time()
    _train_epoch(run, Hooks(), SimpleNamespace(stepped=lambda _run: None))  # type: ignore[arg-type]
    if gpu:
        torch.cuda.synchronize()
    return (time.monotonic() if gpu else time.process_time()) - started


def measure(asked: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["RUNGWISE_CACHE"] = str(folder / "cache")
        settings = settings_of(folder, asked)
        said: list[str] = []
        runs = {}
        for label, cache_gb in (("first", 8.0), ("cached", 8.0), ("encoding", 0.0)):
            config = resolve_config(*settings, {"data.cache_gb": cache_gb})
            prepare_data(config, lambda _done, _of: None)
            runs[label] = open_run(config, None, 1, said.append)
        seconds: dict[str, list[float]] = {"cached": [], "encoding": []}
        for round_number in range(asked.rounds + 1):
            for label, found in seconds.items():
                took = epoch_seconds(runs[label])
                if round_number:  # the first round warms up
                    found.append(took)
        images = len(runs["cached"].loaders.rows.train)
        device = runs["cached"].device
    cached, encoding = (statistics.median(seconds[label]) / images for label in ("cached", "encoding"))
    parts = "built-in parts (configs/diffusion_small.yaml)" if asked.builtin else "frozen parts of the published shapes"
    print(f"{parts}, {images} images, {asked.size} px, medians of {asked.rounds} rounds, {device}")
    print(f"encoding in every epoch  {1 / encoding:8.1f} images a second")
    print(f"from the cache           {1 / cached:8.1f} images a second, {encoding / cached:.1f} times as many")
    for line in said:
        if "computed in" in line or "was trained" in line:
            print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--builtin", action="store_true")
    torch.set_num_threads(1)
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
