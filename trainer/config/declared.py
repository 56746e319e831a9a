"""What a task declares of its keys, as questions about one task. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.config.keys import known_keys, roles_of
from trainer.config.registry import find_task, load


def cheap_evaluation(task: str) -> Mapping[str, Any]:
    """Overrides that make a task's evaluation cheap, for where many runs are only compared with each other."""
    cheap: Mapping[str, Any] = load(find_task(task).files).CHEAP_EVALUATION
    return cheap


def loss_keys(task: str) -> Sequence[str]:
    """The keys in which runs may not differ if their losses are compared."""
    return [path for path, key in known_keys(task).items() if "loss" in key.roles]


def redefines_loss(task: str, key: str) -> bool:
    """Whether losses of two runs of a task that differ in this key cannot be compared."""
    return "loss" in roles_of(task, key)


def reads_data(task: str, key: str) -> bool:
    """Whether `check_data` may give another result where this key differs: it names a file, or how files are read."""
    known = known_keys(task)[key]
    return known.kind == "path" or "data" in known.roles


def conditions(task: str) -> Sequence[str]:
    """The keys of the budget that say which images a run sees, and at which size: those that a higher rung changes."""
    return [path for path, key in known_keys(task).items() if "budget" in key.roles and "resume" not in key.roles]
