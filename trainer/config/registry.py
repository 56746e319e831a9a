"""The table of the built-in tasks; `find_task` looks up one of them, or a user's own task by its reference.

To add a task: a folder, its name in `TASKS`; `tests/trainer/test_task_contract.py` then tests it.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from functools import cache
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


def _entry(name: str) -> TaskEntry:
    package, prefix = f"trainer.tasks.{name}", name.capitalize()
    return TaskEntry(
        f"{package}.config:{prefix}Config", f"{package}.files:{prefix}Files", f"{package}.task:{prefix}Task"
    )


TASKS: dict[str, TaskEntry] = {
    name: _entry(name) for name in ("captioning", "detection", "classification", "diffusion")
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
    return pkgutil.resolve_name(part) if isinstance(part, str) else part
