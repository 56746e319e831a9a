"""The tasks by name, and those of a user's own by reference. Everything that looks one up comes through `find_task`.

To add one here: a folder, a line in `TASKS`, and `tests/trainer/test_task_contract.py` greets it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from trainer.config.reference import is_reference, read_reference


@dataclass(frozen=True)
class TaskEntry:
    """A task's parts, each an object or where it is, `"module:object"`, loaded when it is wanted.

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

    `ConfigError` says what a reference lacks; `KeyError` is for a name that is neither (`resolve.task_of` checks).
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
