"""What a task declares of its keys, beside what it does: for whoever compares its runs. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.config.keys import known_keys
from trainer.config.registry import find_task, load
from trainer.task.defaults import FilesDefaults


def cheap_evaluation(task: str) -> Mapping[str, Any]:
    """Overrides that make a task's evaluation cheap, for where many runs are only compared with each other."""
    cheap: Mapping[str, Any] = load(find_task(task).files).CHEAP_EVALUATION
    return cheap


def loss_keys(task: str) -> Sequence[str]:
    """The keys, or sections with a dot at their end, in which runs may not differ if their losses are compared."""
    return _keys_said(task, "LOSS_KEYS")


def redefines_loss(task: str, key: str) -> bool:
    """Whether losses of two runs of a task that differ in this key cannot be compared."""
    return _is_among(key, loss_keys(task))


def data_keys(task: str) -> Sequence[str]:
    """The keys, or sections with a dot at their end, that the check of the data looks at, beside paths."""
    return _keys_said(task, "DATA_KEYS")


def reads_data(task: str, key: str) -> bool:
    """Whether `check_data` may say something else where this key differs: it names a file, or how files are read."""
    return known_keys(task)[key].kind == "path" or _is_among(key, data_keys(task))


def _keys_said(task: str, name: str) -> Sequence[str]:
    # A task of one's own need not inherit from FilesDefaults.
    keys: Sequence[str] = getattr(load(find_task(task).files), name, getattr(FilesDefaults, name))
    return keys


def _is_among(key: str, keys: Sequence[str]) -> bool:
    return any(key.startswith(known) if known.endswith(".") else key == known for known in keys)
