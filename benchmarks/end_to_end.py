"""The same captioning trials by us and by others: how long from the command to the last result.

    python benchmarks/end_to_end.py [--trials 12] [--epochs 5] [--images 500] [--size 96] [--peers process,optuna,ray]

Every way trains the same configurations with the same worker, from 640×480 JPEGs, with a frozen encoder, no pruning,
and two processor threads in all. What differs is what is between the trials:

ours      `python -m orchestrator run`: warm slots of one thread each, images decoded once, features computed once
process   a new process for each trial, one after the other, that decodes every image in every epoch
optuna    Optuna's `optimize` over a loop in one process, which decodes every image in every epoch
ray       Ray Tune with two reused actors of one thread, which decode every image in every epoch; needs `ray[tune]`

Prints seconds of wall time, the ratio to ours, and how far the final losses are from ours.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from image_cache import draw

LR, DROPOUT, EMBED = "training.optimizer.lr", "model.dropout", "model.embed_size"
WORDS = ("red", "blue", "green", "white", "black"), ("circle", "square", "star", "cross")


def trials_of(number: int) -> list[dict[str, Any]]:
    """Trials that differ in what lies behind the encoder."""
    rates, dropouts = (3e-3, 1e-3, 3e-4), (0.0, 0.1, 0.2, 0.4)
    grid = [{LR: rate, DROPOUT: dropout, EMBED: 64} for rate in rates for dropout in dropouts]
    return [{**grid[n % len(grid)], EMBED: 64 + 32 * (n // len(grid))} for n in range(number)]


def base_of(folder: Path, said: argparse.Namespace) -> dict[str, Any]:
    """The configuration that all trials start from."""
    return {
        "task": "captioning",
        "data": {
            "images_dir": str(folder / "images"), "caption_file": str(folder / "captions.csv"),
            "image_size": said.size, "freq_threshold": 1, "num_workers": 0, "val_split": 0.2,
        },
        "model": {"backbone": "resnet18", "pretrained": False, "encoded_image_size": 4, "decoder_dim": 64},
        "training": {
            "epochs": said.epochs, "batch_size": 32, "val_batch_size": 100,
            "optimizer": {"type": "adamw", "lr": 1e-3}, "scheduler": {"type": "cosine"},
            "early_stopping": {"enabled": False},
        },
        "evaluation": {"beam_size": 1, "samples": 0},
    }  # fmt: skip


def captioned(folder: Path, images: int) -> None:
    """Photographs that say a thing or two."""
    draw(folder, images)
    rows = [
        (
            f"{n:05d}.jpg",
            f"a {WORDS[0][n % 5]} {WORDS[1][n % 4]} beside a {WORDS[0][n // 5 % 5]} {WORDS[1][n // 7 % 4]}",
        )
        for n in range(images)
    ]
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])


def environment(folder: Path, threads: int) -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[1])
    own = {"RUNGWISE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": str(threads), "PYTHONPATH": root}
    return {**os.environ, **own}


def train_plainly(base: Mapping[str, Any], trial: Mapping[str, Any], folder: Path) -> float:
    """One trial whose images are decoded in every epoch and seen by the encoder in every epoch; its last loss."""
    from trainer import api
    from trainer.store import image_cache

    class Decoded(image_cache.DecodedImages):
        """Keeps nothing."""

        def __init__(self, *about: Any, **more: Any) -> None:
            super().__init__(*about, **more)
            self._room = 0

    image_cache.DecodedImages = Decoded  # type: ignore[assignment, misc]
    own = {"data.cache_gb": 0.0, "checkpoint.dir": str(folder), "logging.dir": str(folder)}
    outcome = api.train(api.resolve_config(base, trial, own))
    return outcome.evaluations[-1].metrics["val_loss"]


def ours(base: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], folder: Path) -> list[float]:
    (folder / "base.yaml").write_text(json.dumps(base), encoding="utf-8")
    (folder / "trials.json").write_text(json.dumps(trials), encoding="utf-8")
    words = ["run", "trials.json", "--base-config", "base.yaml", "--pruner", "none", "--study", "ours"]
    words += ["--workers", "2", "--threads-per-slot", "1"]
    command = [sys.executable, "-m", "orchestrator", *words]
    subprocess.run(command, cwd=folder, env=environment(folder, 1), check=True, capture_output=True)
    with (folder / "outputs" / "ours" / "trials.csv").open(encoding="utf-8") as file:
        return [float(row["final_loss"]) for row in csv.DictReader(file)]


def process(base: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], folder: Path) -> list[float]:
    inside = [_inside("plain", base, [trial], folder / str(number), threads=2) for number, trial in enumerate(trials)]
    return [loss for losses in inside for loss in losses]


def optuna(base: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], folder: Path) -> list[float]:
    return _inside("optuna", base, trials, folder, threads=2)


def ray(base: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], folder: Path) -> list[float]:
    return _inside("ray", base, trials, folder, threads=1)


def _inside(
    way: str, base: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], folder: Path, threads: int
) -> list[float]:
    """The losses that this program prints where it is one of the peers."""
    command = [sys.executable, __file__, "--inside", way, "--given", json.dumps([base, list(trials), str(folder)])]
    done = subprocess.run(command, env=environment(folder, threads), check=True, capture_output=True, text=True)
    losses: list[float] = json.loads(done.stdout.splitlines()[-1])
    return losses


def inside_plain(base: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], folder: Path) -> list[float]:
    return [train_plainly(base, trial, folder / f"plain-{number}") for number, trial in enumerate(trials)]


def inside_optuna(base: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], folder: Path) -> list[float]:
    import optuna

    def objective(trial: optuna.Trial) -> float:
        chosen = trials[trial.suggest_int("n", 0, len(trials) - 1)]
        return train_plainly(base, chosen, folder / f"optuna-{trial.number}")

    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db")
    for number in range(len(trials)):
        study.enqueue_trial({"n": number})
    study.optimize(objective, n_trials=len(trials))
    return [float(trial.value or 0.0) for trial in study.trials]


def inside_ray(base: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], folder: Path) -> list[float]:
    import ray
    from ray import tune

    class Actor(tune.Trainable):  # type: ignore[misc]
        """Trains a whole trial in one step."""

        def setup(self, config: dict[str, Any]) -> None:
            self.number = config["n"]

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.number = new_config["n"]
            return True

        def step(self) -> dict[str, Any]:
            loss = train_plainly(base, trials[self.number], folder / f"ray-{self.number}")
            return {"loss": loss, "done": True}

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(Actor, {"cpu": 1}),
        param_space={"n": tune.grid_search(list(range(len(trials))))},
        tune_config=tune.TuneConfig(metric="loss", mode="min", max_concurrent_trials=2, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    found = {result.config["n"]: result.metrics["loss"] for result in tuner.fit()}
    return [found[number] for number in range(len(trials))]


INSIDE: dict[str, Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]], Path], list[float]]] = {
    "plain": inside_plain,
    "optuna": inside_optuna,
    "ray": inside_ray,
}
WAYS: dict[str, Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]], Path], list[float]]] = {
    "ours": ours,
    "process": process,
    "optuna": optuna,
    "ray": ray,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("trials", 12), ("epochs", 5), ("images", 500), ("size", 96)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--peers", default="process,optuna,ray")
    parser.add_argument("--inside", choices=INSIDE, help=argparse.SUPPRESS)
    parser.add_argument("--given", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.inside:
        base, given, place = json.loads(said.given)
        Path(place).mkdir(exist_ok=True)
        print(json.dumps(INSIDE[said.inside](base, given, Path(place))))
        return
    trials, losses, seconds = trials_of(said.trials), dict[str, list[float]](), dict[str, float]()
    for name in ("ours", *filter(None, said.peers.split(","))):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            captioned(folder, said.images)
            began = time.monotonic()
            losses[name] = WAYS[name](base_of(folder, said), trials, folder)
            seconds[name] = time.monotonic() - began
        apart = [abs(a - b) / b for a, b in zip(losses[name], losses["ours"], strict=True)]
        ratio = seconds[name] / seconds["ours"]
        words = f"losses {median(apart):.2%} from ours (median), {max(apart):.2%} (most)"
        print(f"{name:8} {seconds[name]:8.1f} s  {ratio:5.2f} × ours, {words}", flush=True)


if __name__ == "__main__":
    main()
