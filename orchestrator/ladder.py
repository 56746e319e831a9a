"""Budgets and rungs: what one trial may spend, and where trials are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.api import RunConfig

# The budget's keys: what a study sets, and no trial may.
EPOCHS, SUBSET, SIZE, VAL_SUBSET = (
    "training.epochs",
    "training.subset_size",
    "data.image_size",
    "data.val_subset_size",
)
REFUSED_IN_TRIALS = frozenset(
    {
        EPOCHS, SUBSET, SIZE, VAL_SUBSET,
        "training.max_iter", "training.schedule_epochs", "training.subset_seed", "training.overfit",
        "training.resize_schedule", "training.eval_interval",
        "data.data_fraction", "data.max_samples", "data.val_split", "data.split_seed",
        "seed", "device", "task",
    }
)  # fmt: skip
REFUSED_SECTIONS = ("checkpoint.", "logging.")
MIN_VALIDATION_IMAGES = 200
LONGEST_WARMUP = 0.3


@dataclass(frozen=True)
class Budget:
    """What one trial may spend; None stands for what the base configuration says."""

    epochs: int | None = None
    subset: int | None = None
    size: int | None = None
    val_subset: int | None = None

    @property
    def is_full(self) -> bool:
        return self == Budget()


@dataclass(frozen=True)
class Rung:
    """A step of the budget. `epochs` are cumulative; `subset` and `val_subset` None stand for all images."""

    epochs: int
    subset: int | None
    size: int
    val_subset: int | None

    def words(self) -> str:
        """As messages show it: `3 epochs, 500 images @160`."""
        images = "all images" if self.subset is None else f"{self.subset} images"
        return f"{self.epochs} epoch{'' if self.epochs == 1 else 's'}, {images} @{self.size}"

    def plain(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "subset": self.subset, "size": self.size, "val_subset": self.val_subset}


def refused_in_trials(key: str) -> bool:
    """Whether a canonical key belongs to the budget or to the study, not to a trial."""
    return key in REFUSED_IN_TRIALS or key.startswith(REFUSED_SECTIONS)


def single_rung(budget: Budget, base: RunConfig) -> Rung:
    """The one rung of a study without a ladder; what the budget leaves out comes from the base."""
    subset = budget.subset if budget.subset is not None else base.training.subset_size
    val_subset = budget.val_subset if budget.val_subset is not None else base.data.val_subset_size
    if val_subset is None and subset is not None and not budget.is_full:
        val_subset = max(MIN_VALIDATION_IMAGES, subset)
    return Rung(budget.epochs or base.training.epochs, subset, budget.size or base.data.image_size, val_subset)


def rung_overrides(rung: Rung, top: Rung, warmup: float | None) -> Mapping[str, Any]:
    """The keys by which a rung enters a configuration: the only place where a budget does.

    Schedules are laid over the top rung, so that a rung is a prefix of the run above it. `warmup` is the share
    of progress that full training warms up for, None where it does not.
    """
    found: dict[str, Any] = {
        EPOCHS: rung.epochs,
        "training.schedule_epochs": top.epochs,
        SUBSET: rung.subset,
        SIZE: rung.size,
        VAL_SUBSET: rung.val_subset,
        "training.eval_interval": 1,
        "training.resize_schedule": None,
    }
    if warmup is not None:
        found["training.scheduler.warmup_fraction"] = min(warmup, LONGEST_WARMUP)
    return found
