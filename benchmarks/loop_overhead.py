"""What the training loop adds to a bare PyTorch loop, per optimizer step, on a model so small that it shows.

    python benchmarks/loop_overhead.py [--steps 200] [--rounds 60]

The bare loop and ours (and accelerate and Lightning, where they are installed) train the same model on the same
batches with the same clipping and zeroing, in turn, round after round in one process; the medians over the rounds
are compared. One thread and processor time, so that whoever else runs on the machine disturbs little.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from trainer.api import Hooks, metric_of, resolve_config
from trainer.data.batches import EpochBatches
from trainer.learning.optim import Schedule, build_optimizer
from trainer.learning.precision import decide_precision
from trainer.learning.stopping import EarlyStopping
from trainer.run.loop import _train_epoch
from trainer.run.run import Run
from trainer.task.protocols import Parts

WIDTH, BATCH, CLIP = 96, 32, 5.0
CONFIG = {
    "task": "captioning",
    "data.scenes.images": 10,
    "model.pretrained": False,
    "training.optimizer.type": "adam",
    "training.scheduler.type": "constant",
    "training.grad_clip": CLIP,
    "training.epochs": 1_000_000,
}


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))


def batches(steps: int) -> list[dict[str, Any]]:
    torch.manual_seed(1)
    one = [{"x": torch.randn(BATCH, WIDTH), "y": torch.randint(0, 10, (BATCH,)), "weight": BATCH} for _ in range(64)]
    return [one[i % len(one)] for i in range(steps)]


def timed(epoch: Callable[[], None]) -> Callable[[], float]:
    """The same, giving the processor time that it took."""

    def measured() -> float:
        started = time.process_time()
        epoch()
        return time.process_time() - started

    return measured


def bare(data: list[dict[str, Any]], run: Run) -> Callable[[], float]:
    """With our run's model and optimizer: where a model lies in memory changes its step more than a loop does."""
    net, optimizer, parameters = run.model, run.optimizer, run.parameters

    def epoch() -> None:
        for batch in data:
            loss = F.cross_entropy(net(batch["x"]), batch["y"])
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return timed(epoch)


class TinyTask:
    """Just enough of a task for an epoch of the loop."""

    def loss(self, net: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
        return F.cross_entropy(net(batch["x"]), batch["y"], reduction="sum")


def run_of(data: list[dict[str, Any]]) -> Run:
    config = resolve_config(CONFIG)
    device = torch.device("cpu")
    net = model()
    optimizer = build_optimizer(config.training.optimizer, Parts(main=list(net.parameters())))
    precision = decide_precision("auto", device)
    loaders = SimpleNamespace(
        train=data, batches=EpochBatches(len(data) * BATCH, BATCH, 0, shuffle=True), resize=lambda _size: None, size=0
    )
    return Run(
        config=config,
        task=TinyTask(),  # type: ignore[arg-type]
        metric=metric_of(config),
        device=device,
        precision=precision,
        model=net,
        parameters=list(net.parameters()),
        optimizer=optimizer,
        scaler=precision.scaler(),
        schedule=Schedule(config.training.scheduler, optimizer, config.schedule_epochs, 0.0),
        stopping=EarlyStopping(config.training.early_stopping),
        loaders=loaders,  # type: ignore[arg-type]
        steps_per_epoch=len(data),
    )


def ours(run: Run) -> Callable[[], float]:
    def epoch() -> None:
        run.progress.batches, run.progress.weight = 0, 0.0
        _train_epoch(run, Hooks(), SimpleNamespace(stepped=lambda _run: None))  # type: ignore[arg-type]

    return timed(epoch)


def accelerated(data: list[dict[str, Any]]) -> Callable[[], float]:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    net = model()
    net, optimizer = accelerator.prepare(net, torch.optim.Adam(net.parameters(), lr=1e-4))

    def epoch() -> None:
        for batch in data:
            with accelerator.accumulate(net):
                loss = F.cross_entropy(net(batch["x"]), batch["y"])
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(net.parameters(), CLIP)
                optimizer.step()
                optimizer.zero_grad()

    return timed(epoch)


def lightning(data: list[dict[str, Any]], stripped: bool) -> Callable[[], float]:
    """Timed from the first batch to the end of the epoch: what it sets up before costs it nothing here."""
    import lightning as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = model()
            self.started = self.seconds = 0.0

        def training_step(self, batch: dict[str, Any], _index: int) -> torch.Tensor:
            loss = F.cross_entropy(self.net(batch["x"]), batch["y"])
            if not stripped:
                self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-4)

        def on_train_epoch_start(self) -> None:
            self.started = time.process_time()

        def on_train_epoch_end(self) -> None:
            self.seconds = time.process_time() - self.started

    module = Module()
    # It takes no list of batches; handing over what is there already is the least that a loader can do.
    loader = torch.utils.data.DataLoader(data, batch_size=None)  # type: ignore[arg-type]
    quiet: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 1, "gradient_clip_val": CLIP}
    quiet |= {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    quiet["logger"] = False
    if not stripped:
        folder = tempfile.mkdtemp()
        quiet |= {"logger": pl.pytorch.loggers.CSVLogger(folder), "default_root_dir": folder}
        quiet |= {"enable_checkpointing": True, "enable_progress_bar": True}
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def epoch() -> float:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            pl.Trainer(**quiet).fit(module, loader)
        return module.seconds

    return epoch


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=60)
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    data = batches(asked.steps)
    run = run_of(data)
    loops = {"bare": bare(data, run), "bare, again": bare(data, run), "ours": ours(run)}
    if find_spec("accelerate"):
        loops["accelerate"] = accelerated(data)
    if find_spec("lightning"):
        loops["lightning, stripped"] = lightning(data, stripped=True)
        loops["lightning, defaults"] = lightning(data, stripped=False)
    micros: dict[str, list[float]] = {name: [] for name in loops}
    for round_number in range(asked.rounds + 1):
        for name, epoch in loops.items():
            seconds = epoch()
            if round_number:  # the first round warms up
                micros[name].append(seconds / asked.steps * 1e6)
    floor = statistics.median(micros["bare"])
    print(f"a bare step: {floor:.0f} µs ({asked.steps} steps a round, {asked.rounds} rounds)")
    for name in list(loops)[1:]:
        added = statistics.median(one - other for one, other in zip(micros[name], micros["bare"], strict=True))
        print(f"{name}: {added:+.1f} µs a step, {statistics.median(micros[name]) / floor:.3f} of the bare loop")


if __name__ == "__main__":
    main()
