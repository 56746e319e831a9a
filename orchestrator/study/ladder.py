"""Budgets and rungs: what one trial may spend, and the steps at which trials are compared."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from orchestrator.study.text import counted
from trainer.api import Key, RunConfig

# The keys by which a rung enters a configuration.
EPOCHS, SUBSET = "training.epochs", "training.subset_size"
SIZE, VAL_SUBSET = "data.image_size", "data.val_subset_size"
MIN_VALIDATION_IMAGES = 200
LONGEST_WARMUP = 0.3
MOST_DERIVED_RUNGS = 4


@dataclass(frozen=True)
class Budget:
    """What one trial may spend; None stands for the value of the base configuration."""

    epochs: int | None = None
    subset: int | None = None
    size: int | None = None
    val_subset: int | None = None

    @property
    def is_full(self) -> bool:
        return self == Budget()


@dataclass(frozen=True)
class Rung:
    """A step of the budget. `epochs` count from a trial's start; `subset` and `val_subset` None mean all images."""

    epochs: int
    subset: int | None
    size: int
    val_subset: int | None

    def words(self) -> str:
        """As messages show it: `3 epochs, 500 images @160`."""
        images = "all images" if self.subset is None else f"{self.subset} images"
        return f"{counted(self.epochs, 'epoch')}, {images} @{self.size}"

    def text(self) -> str:
        """As `--ladder` takes it: `3x500@160`."""
        return f"{self.epochs}{'' if self.subset is None else f'x{self.subset}'}@{self.size}"

    def plain(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "subset": self.subset, "size": self.size, "val_subset": self.val_subset}


def ladder_words(rungs: Sequence[Rung]) -> str:
    """All rungs, lowest first."""
    return " → ".join(rung.words() for rung in rungs)


def refused_in_trials(key: Key) -> bool:
    """Whether a key belongs to the budget or to the study, not to a trial."""
    return not key.roles.isdisjoint(("budget", "study", "place"))


def single_rung(budget: Budget, base: RunConfig) -> Rung:
    """The only rung of a study without a ladder; what the budget does not set comes from the base."""
    subset = budget.subset if budget.subset is not None else base.training.subset_size
    val_subset = base.data.val_subset_size if budget.is_full else _validation(budget.val_subset, subset, base)
    return Rung(budget.epochs or base.training.epochs, subset, budget.size or base.data.image_size, val_subset)


def rung_overrides(rung: Rung, top: Rung, warmup: float | None) -> Mapping[str, Any]:
    """The overrides that train a trial on a rung: the only place where a budget becomes keys.

    Schedules span the top rung, so that training on a rung is the beginning of training on the one above. `warmup` is
    the warm-up of full training as a share of its epochs, None where there is none.
    """
    overrides: dict[str, Any] = {
        EPOCHS: rung.epochs,
        "training.schedule_epochs": top.epochs,
        SUBSET: rung.subset,
        SIZE: rung.size,
        VAL_SUBSET: rung.val_subset,
        "training.eval_interval": 1,
        "training.resize_schedule": None,
    }
    if warmup is not None:
        overrides["training.scheduler.warmup_fraction"] = min(warmup, LONGEST_WARMUP)
    return overrides


def rungs_of(ladder: Any, base: RunConfig | None, val_subset: int | None) -> tuple[tuple[Rung, ...], list[str]]:
    """The rungs of a ladder, `1x250@96,3x500@160` or a list of such rungs, and what is wrong with it.

    A rung without `x` has the base's images, one without `@` the base's size. All rungs are validated on the same
    images. Without a base only the form is checked.
    """
    parts = ladder.split(",") if isinstance(ladder, str) else list(ladder)
    problems: list[str] = []
    rungs: list[Rung] = []
    for number, part in enumerate(parts, start=1):
        rung = _rung(part, base)
        if rung is None:
            problems.append(f"rung {number}: {part!r} is not of the form EPOCHSxIMAGES@SIZE, such as 3x500@160")
        else:
            rungs.append(rung)
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
        if set(part) - {"epochs", "subset", "size"}:
            return None
        numbers = [part.get(axis) for axis in ("epochs", "subset", "size")]
    else:
        match = re.fullmatch(r"\s*(\d+)\s*(?:x\s*(\d+)\s*)?(?:@\s*(\d+)\s*)?", str(part))
        if match is None:
            return None
        numbers = [int(text) if text else None for text in match.groups()]
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in numbers if n is not None):
        return None
    epochs, subset, size = numbers
    if epochs is None:
        return None
    if base is None:
        return Rung(epochs, subset, size or 0, None)
    return Rung(epochs, base.training.subset_size if subset is None else subset, size or base.data.image_size, None)


def derived_ladder(top: Rung, factor: float, train_images: int, least_images: int) -> tuple[Rung, ...]:
    """A ladder below `top`: each rung has 1/`factor` of the epochs and of the images of the one above, at one size.

    At most four rungs, of at least one epoch: lower ones mislead more than they save (benchmarks/README.md). A rung
    has at least `least_images` images, so that an epoch has at least one step.
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


def _validation(val_subset: int | None, subset: int | None, base: RunConfig) -> int | None:
    """How many validation images a trial on a budget is evaluated on, None for all."""
    chosen = val_subset if val_subset is not None else base.data.val_subset_size
    if chosen is None and subset is not None:
        return max(MIN_VALIDATION_IMAGES, subset)
    return chosen
