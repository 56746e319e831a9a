"""Small real parts for the trainer's tests: a tiny captioning run, a tiny data set, comparisons."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.api import Evaluation, Hooks, Outcome, Session, open_session, resolve_config
from trainer.checkpoints.files import load_checkpoint
from trainer.testing import same

__all__ = ["same"]  # for the tests, beside what is defined here

# 40 scenes of 32 px, 32 of them to train on with 2 captions each: 64 rows, 8 batches, some 0.1 s an epoch.
TINY: dict[str, Any] = {
    "task": "captioning",
    "seed": 3,
    "device": "cpu",
    "data": {
        "scenes": {"images": 40, "size": 32, "captions_per_image": 2},
        "image_size": 28,
        "num_workers": 0,
        "freq_threshold": 1,
    },
    "model": {
        "backbone": "resnet10_thin",
        "pretrained": False,
        "encoder_fine_tune": True,
        "encoded_image_size": 2,
        "embed_size": 16,
        "encoder_dim": 16,
        "decoder_dim": 16,
        "dropout": 0.3,
    },
    "training": {
        "epochs": 4,
        "schedule_epochs": 4,
        "batch_size": 8,
        "optimizer": {"type": "adam", "lr": 5e-3},
        "scheduler": {"type": "cosine", "warmup_steps": 3},
        "early_stopping": {"enabled": False},
    },
    "evaluation": {"beam_size": 1, "max_length": 10, "samples": 2},
}


def tiny(folder: Path, **overrides: Any) -> Any:
    """The tiny configuration with its checkpoints in `folder`; `a__b=1` stands for `a.b`."""
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return resolve_config(TINY, {"checkpoint.dir": str(folder)}, dotted)


@contextmanager
def session_of(config: Any, hooks: Hooks | None = None, **options: Any) -> Iterator[Session]:
    session = open_session(config, hooks or Hooks(), **options)
    try:
        yield session
    finally:
        session.close()


def trained(config: Any, until: int | None = None, hooks: Hooks | None = None, **options: Any) -> Outcome:
    """One call: open, train to the end of epoch `until`, close."""
    hooks = hooks or Hooks()
    with session_of(config, hooks, **options) as session:
        return session.train(until or config.training.epochs, hooks)


def stop_after(steps: int) -> Callable[[], bool]:
    """A `should_stop` that says yes from the given call on (it is asked after every step)."""
    asked = iter(range(1, 1_000_000))
    return lambda: next(asked) >= steps


def without_seconds(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    return [{k: v for k, v in evaluation.line().items() if k != "seconds"} for evaluation in evaluations]


def metrics_lines(folder: Path) -> list[dict[str, Any]]:
    """`metrics.jsonl` without the seconds."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def training_state(folder: Path, name: str = "last.pth") -> dict[str, Any]:
    """A checkpoint without what may differ between two equal runs: folders, clocks, the call's own limits."""
    state = load_checkpoint(folder / name)
    del state["config"]
    state["progress"] = {k: v for k, v in state["progress"].items() if not k.startswith("seconds")}
    state["history"] = [{k: v for k, v in item.items() if not k.endswith("seconds")} for item in state["history"]]
    return state


def write_data(folder: Path, rows: Sequence[tuple[str, str]], images: Sequence[str] | None = None) -> dict[str, Any]:
    """A captioning data set on disk and the overrides that name it; images are noise of 32 px."""
    pictures = folder / "images"
    pictures.mkdir(parents=True)
    for number, name in enumerate(dict.fromkeys(name for name, _ in rows) if images is None else images):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / name)
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    return {"data.images_dir": str(pictures), "data.caption_file": str(folder / "captions.csv")}
