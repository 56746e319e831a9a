"""The arguments of `run` and `plan`: the one place that declares each flag, its key in a trials file, and its range."""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from orchestrator.policies.table import POLICIES
from orchestrator.samplers.table import SAMPLERS
from orchestrator.slots.table import SLOTS, USUAL


@dataclass(frozen=True)
class Option:
    """An argument: its help, and where a trials file may set it, too (`section.key`; the key may be the name itself).

    A number lies between `least` and `most`; `is_time`: it is a text such as `30m`.
    """

    help: str
    place: str = ""
    least: float | None = None
    most: float | None = None
    is_time: bool = False


def _flag(help: str, place: str = "", *, default: Any = None, **about: Any) -> Any:
    return dataclasses.field(default=default, metadata={"option": Option(help, place, **about)})


@dataclass(frozen=True)
class Request:
    """The arguments of `run` and `plan`, with the defaults of their flags; None where the user gave none."""

    trials: Path = _flag("trials file: a list of objects of dotted keys, or a mapping (JSON, YAML)", default=MISSING)
    assignments: list[str] | None = _flag("key=value for every trial")
    base_config: Path | None = _flag("configuration that all trials start from")
    study: str | None = _flag("name of the study; default: the trials file's")
    output_dir: Path = _flag("folder that contains the study folders", default=Path("outputs"))
    seed: int | None = _flag("seed of the study", "search", least=0)
    budget_epochs: int | None = _flag("epochs per trial", "budget.epochs", least=1)
    budget_subset: int | None = _flag("training images per trial", "budget.subset", least=1)
    budget_size: int | None = _flag("image size of trials, in pixels", "budget.size", least=1)
    budget_val_subset: int | None = _flag("validation images per trial", "budget.val_subset", least=1)
    ladder: str | None = _flag("rungs, such as 1x250@96,3x500@160,9x1000@224; auto derives them from the budget")
    reduction_factor: int | None = _flag("the best 1/N of the trials on a rung continue (3)", "search", least=2)
    n_trials: int | None = _flag("number of trials in the whole study", "search", least=1)
    sampler: str | None = _flag(f"{', '.join(SAMPLERS)}; default: tpe; needs a search_space", "search")
    pruner: str | None = _flag(f"{', '.join(POLICIES)}; default: median, on a ladder halving", "search")
    early_stop_threshold: float | None = _flag("prune trials whose final metric is worse than this", "search")
    anchors: float | None = _flag(
        "share of trials that continue at random instead of pausing: measures the rungs", "search", least=0, most=1
    )
    audit: float | None = _flag(
        "share of trials that are trained to the end instead of paused or pruned", "search", least=0, most=1
    )
    timeout: str | None = _flag("time limit of the study, such as 90s, 30m, 2h", "limits", is_time=True)
    max_gpu_hours: float | None = _flag(
        "limit of the study in GPU-hours; without a GPU in slot-hours", "limits", least=0
    )
    max_failures: int | None = _flag("stop the study after this many failed trials (10)", "limits", least=1)
    max_checkpoint_gb: float | None = _flag(
        "disk space for checkpoints of finished and paused trials (20)", "limits", least=0
    )
    stall_timeout: str | None = _flag(
        "kill the process of a trial after this long without progress (30m)", "limits", is_time=True
    )
    workers: int | None = _flag(
        "trials at the same time; default: one per GPU, or per two cores without a GPU", least=1
    )
    slots_per_gpu: int | None = _flag("trials at the same time on one GPU (1); ignored with --workers", least=1)
    threads_per_slot: int | None = _flag("CPU threads per slot; default: its share of the cores", least=1)
    slots: str = _flag(f"where trials run: {', '.join(SLOTS)}", default=USUAL)
    storage: str = _flag("database URL; default: study.db in the study's folder", default="")
    promote: int | None = _flag("train this many of the best trials at full budget", "promote.top", least=0)
    promote_seeds: int | None = _flag("number of seeds for each promoted trial", "promote.seeds", least=1)


FIELDS = dataclasses.fields(Request)


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def place(field: dataclasses.Field[Any]) -> tuple[str, str]:
    """The section and the key of an argument in a trials file; empty where it has none."""
    section, _, key = field.metadata["option"].place.partition(".")
    return section, key or (field.name if section else "")


def section_keys() -> dict[str, tuple[str, ...]]:
    """The keys of each section of a trials file."""
    keys: dict[str, tuple[str, ...]] = {}
    for section, key in map(place, FIELDS):
        if section:
            keys[section] = (*keys.get(section, ()), key)
    return keys
