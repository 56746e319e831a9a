"""toy: a task of a few numbers, whose metric follows from its configuration by arithmetic alone.

The gain of an epoch is `start + slope · epoch + noise`, the noise drawn from seed, epoch and width: the same on every
machine, whatever its version of PyTorch. `TOY_NAP` is how many seconds an evaluation sleeps, for a kill in the middle.
"""

import hashlib
import os
import time
from typing import Literal

import numpy as np
import torch
from torch import nn

from trainer.api import (
    DataSettings,
    DataSummary,
    FilesDefaults,
    Metric,
    Rows,
    RunConfig,
    Scores,
    Section,
    TaskDefaults,
    select,
    setting,
)


class ToyData(DataSettings):
    rows: int = setting(60, "rows of the table", ge=10)


class ToySettings(Section):
    start: float = setting(0.5, "gain before the first epoch", search=(-10.0, 10.0))
    slope: float = setting(0.1, "gain of an epoch", search=(-1.0, 1.0))
    width: int = setting(8, "units", scale="log", search=(1, 1024), ge=1)
    mode: Literal["plain", "breaks", "nan"] = setting("plain", "what becomes of a run")


class ToyConfig(RunConfig):
    data: ToyData = ToyData()
    model: ToySettings = ToySettings()


class ToyFiles(FilesDefaults):
    @staticmethod
    def metric(_config):
        return Metric("gain", "gain", "maximize", 1.0)

    @staticmethod
    def check(config):
        chosen = select(config, config.data.rows)
        sizes = map(len, (chosen.train_split, chosen.train, chosen.train, chosen.val))
        stamp = hashlib.sha256(str(config.data.rows).encode()).hexdigest()[:16]
        return DataSummary(*sizes, skipped=0, fingerprint=stamp, words=f"{config.data.rows} rows")


class ToyRows:
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitems__(self, keys):
        share = len(keys) / self.count  # of an epoch
        return {"inputs": torch.ones(len(keys), 1), "share": share, "weight": len(keys)}


class ToyNet(nn.Module):
    """One weight, and how many epochs it has trained."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.line.weight)
        self.register_buffer("epochs", torch.zeros(1, dtype=torch.float64))

    def forward(self, inputs):
        return self.line(inputs)


class ToyTask(TaskDefaults):
    def __init__(self, config, extras=None):
        self.config = config

    def open_rows(self, everything=False, image_size=None, progress=None):
        chosen = select(self.config, self.config.data.rows)
        shown = self.config.data.rows if everything else len(chosen.val)
        return Rows(ToyRows(len(chosen.train)), ToyRows(shown))

    def build_model(self, weights):
        return ToyNet()

    def loss(self, model, batch):
        model.epochs += batch["share"]
        return model(batch["inputs"]).square().sum()

    def evaluate(self, model, batches):
        for batch in batches:
            model(batch["inputs"])
        time.sleep(float(os.environ.get("TOY_NAP", "0")))
        toy, epoch = self.config.model, round(float(model.epochs))
        if toy.mode == "breaks" and epoch == 2:
            raise RuntimeError("this mode breaks in its second epoch")
        noise = np.random.default_rng([self.config.seed, epoch, toy.width]).normal(0.0, 0.05)
        gain = round(toy.start + toy.slope * epoch + float(noise), 6)
        loss = float("nan") if toy.mode == "nan" else round(1.0 / (1.0 + gain * gain), 6)
        return Scores({"val_loss": loss, "gain": gain})


class Toy:
    Config, Files, Task = ToyConfig, ToyFiles, ToyTask
