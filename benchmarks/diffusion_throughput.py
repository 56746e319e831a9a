"""Images a second of the default diffusion transformer at 256 px, bf16, in our loop and in one written by hand.

    python benchmarks/diffusion_throughput.py [--batch 96] [--steps 30] [--rounds 5] [--device cuda]

Ours is the training loop of a run with latents and text vectors from the cache (of frozen parts of the published
shapes with random weights, so that nothing is downloaded): rows read from the mapped stores, moved to the GPU, noised,
clipped, stepped. The one by hand has the same transformer, optimizer and clipping, its latents and vectors on the GPU
before it starts, and PyTorch's own random numbers. In turn, round after round; the medians count. It needs a CUDA GPU;
--device cpu tries the script out and measures nothing that matters.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import DDPMScheduler
from diffusion_cache import save_published
from torch import Tensor
from torch.nn import functional as F

from trainer.api import Hooks, prepare_data, resolve_config
from trainer.run.loop import _train_epoch
from trainer.run.run import Run, open_run
from trainer.tasks.diffusion.model import Denoiser
from trainer.tasks.diffusion.text import text_of

CLIP = 1.0


def opened(folder: Path, batch: int, steps: int, device: str) -> Run:
    """A run of the default transformer whose epoch has so many steps."""
    settings = {
        "task": "diffusion",
        "device": device,
        "data.scenes.images": max(10, round(batch * steps / 0.9) + 1),
        "data.scenes.size": 256,
        "data.scenes.captions_per_image": 1,
        "checkpoint.dir": str(folder / "run"),
        "training.batch_size": batch,
        "training.epochs": 1_000_000,
        "training.grad_clip": CLIP,
        **save_published(folder),
    }
    config = resolve_config(settings)
    prepare_data(config, lambda _done, _of: None)
    return open_run(config, None, 1, print)


def ours(run: Run) -> Callable[[], int]:
    def epoch() -> int:
        run.progress.batches, run.progress.weight = 0, 0.0
        _train_epoch(run, Hooks(), SimpleNamespace(stepped=lambda _run: None))  # type: ignore[arg-type]
        return len(run.loaders.rows.train)

    return epoch


def by_hand(run: Run, batch: int) -> Callable[[], int]:
    """What a training script does by itself, on the same latents and vectors."""
    config, device = run.config, run.device
    rows = run.loaders.rows.train
    kept = [rows.__getitems__([(1, n) for n in range(first, min(first + batch, len(rows)))])
            for first in range(0, len(rows), batch)]  # fmt: skip
    data: list[tuple[Tensor, Tensor]] = [(one["latents"].to(device), one["vectors"].to(device)) for one in kept]
    side, width = data[0][0].shape[-1], data[0][1].shape[-1]
    net = Denoiser(config.model, side, width, None).to(device).train()
    parameters = list(net.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01)
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)

    def epoch() -> int:
        for half, vectors in data:
            latents, noise = half.float(), torch.randn_like(half, dtype=torch.float32)
            levels = torch.randint(0, 1000, (len(half),), device=device)
            with torch.autocast(device.type, torch.bfloat16):
                predicted = net(schedule.add_noise(latents, noise, levels), levels, text_of(vectors))
                loss = F.mse_loss(predicted.float(), noise)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return sum(len(latents) for latents, _ in data)

    return epoch


def rate(epoch: Callable[[], int]) -> float:
    """Images a second of one epoch."""
    _synchronised()
    started = time.monotonic()
    images = epoch()
    _synchronised()
    return images / (time.monotonic() - started)


def _synchronised() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    asked = parser.parse_args()
    if asked.device != "cpu" and not torch.cuda.is_available():
        print("no CUDA GPU is visible here: nothing was measured", file=sys.stderr)
        raise SystemExit(2)
    with tempfile.TemporaryDirectory() as name:
        os.environ["RUNGWISE_CACHE"] = str(Path(name) / "cache")
        run = opened(Path(name), asked.batch, asked.steps, asked.device)
        epochs = {"by hand": by_hand(run, asked.batch), "ours": ours(run)}
        rates: dict[str, list[float]] = {label: [] for label in epochs}
        for round_number in range(asked.rounds + 1):
            for label, epoch in epochs.items():
                found = rate(epoch)
                if round_number:  # the first round warms up
                    rates[label].append(found)
        run.close()
    hand, own = (statistics.median(rates[label]) for label in ("by hand", "ours"))
    where = torch.cuda.get_device_name() if run.device.type == "cuda" else "a CPU, which says nothing"
    print(f"{where}, {run.precision}, batches of {asked.batch}, 256 px")
    print(f"by hand {hand:8.1f} images a second")
    print(f"ours    {own:8.1f} images a second, {own / hand:.3f} of it")


if __name__ == "__main__":
    main()
