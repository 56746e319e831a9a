"""The table of the built-in tasks; `find_task` looks up one of them, or a user's own task by its reference.

To add a task: a folder, a line in `TASKS`; `tests/trainer/test_task_contract.py` then tests it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from trainer.config.reference import is_reference, read_reference


@dataclass(frozen=True)
class TaskEntry:
    """A task's parts, each an object or its place, `"module:object"`, imported when it is needed.

    `config` is a `RunConfig`, `files` a `TaskFiles`, `task` a `Task`. The first two of a built-in task import no torch.
    """

    config: Any
    files: Any
    task: Any


def _entry(folder: str, prefix: str) -> TaskEntry:
    package = f"trainer.tasks.{folder}"
    return TaskEntry(
        f"{package}.config:{prefix}Config", f"{package}.files:{prefix}Files", f"{package}.task:{prefix}Task"
    )


TASKS: dict[str, TaskEntry] = {
    "captioning": _entry("captioning", "Captioning"),
    "detection": _entry("detection", "Detection"),
    "classification": _entry("classification", "Classification"),
    "diffusion": _entry("diffusion", "Diffusion"),
}


@cache
def find_task(name: str) -> TaskEntry:
    """A built-in task by its name, or one of the user's by `"package.module:object"`.

    `ConfigError` says what is wrong with a reference; `KeyError` is for any other name (`resolve.task_of` checks).
    """
    if is_reference(name) and name not in TASKS:
        return TaskEntry(*read_reference(name))
    return TASKS[name]


def load(part: Any) -> Any:
    """The object behind `"module:object"`; an object as it is."""
    if not isinstance(part, str):
        return part
    module, _, name = part.partition(":")
    return getattr(import_module(module), name)
