"""The arguments of `run` and `plan`, and the checks of their numbers and times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from orchestrator.planning.mistakes import Mistakes
from orchestrator.planning.trials_file import TrialsFile, seconds
from orchestrator.slots.machine import cores, usual_workers
from orchestrator.slots.table import SLOTS, USUAL
from orchestrator.study.plan import Limits, Places


@dataclass(frozen=True)
class Request:
    """The arguments of `run` and `plan`; None where the user gave none."""

    trials: Path
    assignments: list[str] | None = None
    base_config: Path | None = None
    study: str | None = None
    output_dir: Path = Path("outputs")
    seed: int | None = None
    budget_epochs: int | None = None
    budget_subset: int | None = None
    budget_size: int | None = None
    budget_val_subset: int | None = None
    ladder: str | None = None
    reduction_factor: int | None = None
    n_trials: int | None = None
    sampler: str | None = None
    pruner: str | None = None
    early_stop_threshold: float | None = None
    anchors: float | None = None
    audit: float | None = None
    timeout: str | None = None
    max_gpu_hours: float | None = None
    max_failures: int | None = None
    max_checkpoint_gb: float | None = None
    stall_timeout: str | None = None
    workers: int | None = None
    slots_per_gpu: int | None = None
    threads_per_slot: int | None = None
    slots: str = USUAL
    storage: str = ""
    promote: int | None = None
    promote_seeds: int | None = None


@dataclass(frozen=True)
class Option:
    """A number from `least` to `most`, set by a flag or by a key in a section of the trials file."""

    name: str
    section: str
    key: str
    whole: bool
    least: float | None
    most: float | None = None

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"


OPTIONS = (
    Option("seed", "search", "seed", True, 0),
    Option("n_trials", "search", "n_trials", True, 1),
    Option("reduction_factor", "search", "reduction_factor", True, 2),
    Option("early_stop_threshold", "search", "early_stop_threshold", False, None),
    Option("anchors", "search", "anchors", False, 0, 1),
    Option("audit", "search", "audit", False, 0, 1),
    Option("max_gpu_hours", "limits", "max_gpu_hours", False, 0),
    Option("max_failures", "limits", "max_failures", True, 1),
    Option("max_checkpoint_gb", "limits", "max_checkpoint_gb", False, 0),
    Option("promote", "promote", "top", True, 0),
    Option("promote_seeds", "promote", "seeds", True, 1),
    Option("workers", "", "", True, 1),
    Option("slots_per_gpu", "", "", True, 1),
    Option("threads_per_slot", "", "", True, 1),
)


def read_options(request: Request, file: TrialsFile, mistakes: Mistakes) -> dict[str, Any]:
    """The value of every option by its name, from its flag or else from the file; None where neither sets it."""
    values: dict[str, Any] = {}
    for option in OPTIONS:
        value = getattr(request, option.name)
        if value is None and option.section:
            value = getattr(file, option.section).get(option.key)
        values[option.name] = value if value is None or _fits(option, value, mistakes) else None
    for name in ("timeout", "stall_timeout"):
        flag = getattr(request, name)
        text = flag if flag is not None else file.limits.get(name)
        values[name] = seconds(text) if text is not None else None
        if text is not None and not values[name]:
            mistakes.add(f"--{name.replace('_', '-')}", f"must be a time such as 90s, 30m or 2h, not {text!r}")
    if request.slots not in SLOTS:
        mistakes.add("--slots", f"must be one of {', '.join(SLOTS)}, not {request.slots!r}")
    return values


def _fits(option: Option, value: Any, mistakes: Mistakes) -> bool:
    is_number = isinstance(value, int if option.whole else int | float) and not isinstance(value, bool)
    least, most = (-math.inf if option.least is None else option.least), option.most or math.inf
    if is_number and math.isfinite(value) and least <= value <= most:
        return True
    kind = "a whole number" if option.whole else "a number"
    bound = "" if option.least is None else f" of at least {option.least:g}"
    bound += "" if option.most is None else f" and at most {option.most:g}"
    mistakes.add(option.flag, f"must be {kind}{bound}, not {value!r}")
    return False


def limits_of(numbers: Mapping[str, Any]) -> Limits:
    names = {"timeout_seconds": "timeout", "stall_seconds": "stall_timeout"}
    values = {field.name: numbers[names.get(field.name, field.name)] for field in fields(Limits)}
    return Limits(**{name: value for name, value in values.items() if value is not None})


def places_of(numbers: Mapping[str, Any], slots: str) -> Places:
    workers = numbers["workers"] or usual_workers(numbers["slots_per_gpu"] or 1)
    return Places(workers, numbers["threads_per_slot"] or max(1, cores() // workers), slots)
