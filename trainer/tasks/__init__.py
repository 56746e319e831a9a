"""The tasks by name. To add one: a folder, a line here, and `tests/trainer/test_task_contract.py` greets it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class TaskEntry:
    """Where a task's parts are, as `"module:object"`, loaded when chosen. `config` and `files` import no torch."""

    config: str
    files: str
    task: str


def _entry(folder: str, prefix: str) -> TaskEntry:
    package = f"trainer.tasks.{folder}"
    return TaskEntry(
        f"{package}.config:{prefix}Config", f"{package}.files:{prefix}Files", f"{package}.task:{prefix}Task"
    )


TASKS: dict[str, TaskEntry] = {
    "captioning": _entry("captioning", "Captioning"),
    "detection": _entry("detection", "Detection"),
    "diffusion": _entry("diffusion", "Diffusion"),
}


def load(reference: str) -> Any:
    """The object behind `"module:object"`."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
