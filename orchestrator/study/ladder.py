"""Budgets and rungs: what one trial may spend, and where trials are compared."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
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
MOST_DERIVED_RUNGS = 4


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

    def text(self) -> str:
        """As a ladder is written: `3x500@160`."""
        return f"{self.epochs}{'' if self.subset is None else f'x{self.subset}'}@{self.size}"

    def plain(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "subset": self.subset, "size": self.size, "val_subset": self.val_subset}


def ladder_words(rungs: Sequence[Rung]) -> str:
    """All rungs, lowest first."""
    return " → ".join(rung.words() for rung in rungs)


def refused_in_trials(key: str) -> bool:
    """Whether a canonical key belongs to the budget or to the study, not to a trial."""
    return key in REFUSED_IN_TRIALS or key.startswith(REFUSED_SECTIONS)


def single_rung(budget: Budget, base: RunConfig) -> Rung:
    """The one rung of a study without a ladder; what the budget leaves out comes from the base."""
    subset = budget.subset if budget.subset is not None else base.training.subset_size
    val_subset = base.data.val_subset_size if budget.is_full else _validation(budget.val_subset, subset, base)
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


def rungs_of(said: Any, base: RunConfig | None, val_subset: int | None) -> tuple[tuple[Rung, ...], list[str]]:
    """A written ladder, `1x250@96,3x500@160` or a list of such rungs, and what is wrong with it.

    A rung may leave out `x` (the base's images) and `@` (the base's size). Every rung is validated on one set.
    Without a base that stands only the form is checked.
    """
    parts = said.split(",") if isinstance(said, str) else list(said)
    problems: list[str] = []
    rungs: list[Rung] = []
    for number, part in enumerate(parts, start=1):
        found = _rung(part, base)
        if found is None:
            problems.append(f"rung {number}: {part!r} is not of the form EPOCHSxIMAGES@SIZE, such as 3x500@160")
        else:
            rungs.append(found)
    pairs = enumerate(pairwise(rungs), start=1) if not problems else ()
    for number, (lower, upper) in pairs:
        step = f"rung {number + 1} ({upper.words()}) after rung {number} ({lower.words()})"
        if upper.epochs <= lower.epochs:
            problems.append(f"{step}: epochs count from a trial's start and must rise")
        if (upper.subset or math.inf) < (lower.subset or math.inf):
            problems.append(f"{step}: the subset must not shrink")
        if upper.size and upper.size < lower.size:
            problems.append(f"{step}: the size must not shrink")
    if not problems and base is not None:
        val_subset = _validation(val_subset, rungs[-1].subset, base)
        rungs = [replace(rung, val_subset=val_subset) for rung in rungs]
    return tuple(rungs), problems


def _rung(part: Any, base: RunConfig | None) -> Rung | None:
    if isinstance(part, Mapping):
        numbers = {axis: part.get(axis) for axis in ("epochs", "subset", "size")}
        if set(part) - set(numbers) or not all(_counts(n) for n in numbers.values() if n is not None):
            return None
    else:
        match = re.fullmatch(r"\s*(\d+)\s*(?:x\s*(\d+)\s*)?(?:@\s*(\d+)\s*)?", str(part))
        if match is None:
            return None
        numbers = {
            axis: int(text) if text else None
            for axis, text in zip(("epochs", "subset", "size"), match.groups(), strict=True)
        }
        if not all(_counts(n) for n in numbers.values() if n is not None):
            return None
    if numbers["epochs"] is None:
        return None
    usual_subset, usual_size = (base.training.subset_size, base.data.image_size) if base is not None else (None, 0)
    subset = numbers["subset"] if numbers["subset"] is not None else usual_subset
    return Rung(numbers["epochs"], subset, numbers["size"] or usual_size, None)


def _counts(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1


def derived_ladder(top: Rung, factor: float, train_images: int, least_images: int) -> tuple[Rung, ...]:
    """Rungs below `top`, each with 1/`factor` of the epochs and of the images of the one above; the size stays.

    Goes down to one epoch, and to four rungs: lower ones mislead more than they save (benchmarks/README.md). A rung
    never has fewer than `least_images` images, so that an epoch holds a step.
    """
    rungs = [top]
    images = top.subset if top.subset is not None else train_images
    for power in range(1, MOST_DERIVED_RUNGS):
        epochs = round(top.epochs / factor**power)
        if epochs < 1 or epochs >= rungs[0].epochs:
            break
        subset = max(min(least_images, images), round(images / factor**power))
        rungs.insert(0, replace(top, epochs=epochs, subset=subset if subset < images else top.subset))
    return tuple(rungs)


def _validation(said: int | None, subset: int | None, base: RunConfig) -> int | None:
    """How many validation images a trial on a budget is judged by, None for all."""
    chosen = said if said is not None else base.data.val_subset_size
    if chosen is None and subset is not None:
        return max(MIN_VALIDATION_IMAGES, subset)
    return chosen
