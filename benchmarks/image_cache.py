"""An epoch from the cache of decoded images against decoding in every epoch, and what building that cache costs.

    python benchmarks/image_cache.py [--images 300] [--rounds 5] [--size 64]

JPEGs of 640×480 are drawn into a temporary folder. The peer is what a training script does by itself: PIL decodes,
torchvision's v1 transforms resize and crop at random as we do, a list of tensors is stacked. Ours is the captioning
loader from the second trial on: batches from the mapped store, normalised as a batch. Both are read to normalised
float batches, in turn, round after round; the medians of the processor time (all threads of the process) count.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from trainer.api import resolve_config
from trainer.data.loaders import Loaders
from trainer.data.tensors import IMAGENET_MEAN, IMAGENET_STD, normalise
from trainer.run.run import task_for
from trainer.store import image_cache
from trainer.tasks.captioning.files import resize_px

BATCH = 32


class Photos(Dataset[torch.Tensor]):
    """The peer: one decoded and transformed image at a time."""

    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [
                transforms.Resize((resize_px(size), resize_px(size))),
                transforms.RandomCrop(size),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


def draw(folder: Path, images: int) -> list[Path]:
    """Smooth noise, which compresses about as photographs do."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(images):
        coarse = Image.fromarray(random.integers(0, 255, (60, 80, 3), dtype=np.uint8))
        fine = random.integers(-12, 12, (480, 640, 3))
        pixels = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC)).astype(np.int64) + fine
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{number:05d}.jpg", quality=90)
    with (folder / "captions.csv").open("w", newline="") as file:
        rows = [(f"{number:05d}.jpg", "a red circle") for number in range(images)]
        csv.writer(file).writerows([("image", "caption"), *rows])
    return sorted((folder / "images").iterdir())


def loaders_of(folder: Path, size: int) -> Loaders:
    settings = {
        "task": "captioning",
        "data.images_dir": str(folder / "images"),
        "data.caption_file": str(folder / "captions.csv"),
        "data.image_size": size,
        "data.freq_threshold": 1,
        "data.val_split": 0.001,
        "training.batch_size": BATCH,
    }
    config = resolve_config(settings)
    return Loaders(config, task_for(config), torch.device("cpu"), epoch=1)


def read(batches: DataLoader[torch.Tensor]) -> int:
    return sum(len(batch) for batch in batches)


def seconds_of(work: Callable[[], int], least: float = 0.2) -> float:
    """Processor seconds an image; repeated where one time is too short to measure."""
    images = 0
    started = time.process_time()
    while time.process_time() - started < least:
        images += work()
    return (time.process_time() - started) / images


def measure(images: int, rounds: int, size: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["RUNGWISE_CACHE"] = str(folder / "cache")
        paths = draw(folder, images)
        peer = DataLoader(Photos(paths, size), BATCH, shuffle=True)
        built, decoded, cached = [], [], []
        for _ in range(rounds):
            decoded.append(seconds_of(lambda: read(peer)))
            for store in (folder / "cache" / "images").glob("*.rows"):
                store.unlink()
            image_cache.KEPT.stores.clear()
            started = time.process_time()
            image_cache.shared_images(paths, range(images), resize_px(size), limit_gb=8.0)
            built.append((time.process_time() - started) / images)
            loaders = loaders_of(folder, size)  # a second trial: the store is there
            cached.append(seconds_of(lambda: sum(len(normalise(b["images"])) for b in loaders.train)))  # noqa: B023
    peer_s, build_s, cached_s = (statistics.median(each) for each in (decoded, built, cached))
    print(f"{images} images of 640x480, {size} px, medians of {rounds} rounds, one thread")
    print(f"PIL + torchvision v1  {1 / peer_s:10.0f} images per CPU second")
    print(f"from the cache        {1 / cached_s:10.0f} images per CPU second, {peer_s / cached_s:.0f} times as many")
    print(f"building the cache    {build_s / peer_s:10.2f} of an epoch of decoding, in CPU seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=64)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    measure(asked.images, asked.rounds, asked.size)


if __name__ == "__main__":
    main()
