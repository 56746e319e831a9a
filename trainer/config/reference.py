"""A user's own task, `task: package.module:object`: imported, and checked before anything runs.

The object carries three parts: `Config`, a subclass of `RunConfig`; `Files`, a `TaskFiles`; `Task`, a `Task`. Each is
a class, or the text `"module:object"` of one, so that planning need not import torch.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from trainer.config.section import Section
from trainer.config.settings import RunConfig
from trainer.errors import ConfigError, Problem, did_you_mean

PARTS: Mapping[str, Sequence[str]] = {
    "Config": (),
    "Files": ("metric", "check", "prepare", "CHEAP_EVALUATION"),
    "Task": ("open_rows", "precompute", "build_model", "parts", "loss", "split", "evaluate", "predict", "extras"),
}


def is_reference(name: str) -> bool:
    return ":" in name


def read_reference(name: str) -> tuple[Any, Any, Any]:
    """The parts of the task behind a reference: config, files, task. `ConfigError` with all mistakes."""
    task = _resolved(name, name)
    parts = {}
    problems: list[Problem] = []
    for part, methods in PARTS.items():
        try:
            parts[part] = _part(name, task, part, methods)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return parts["Config"], parts["Files"], parts["Task"]


def _part(name: str, task: Any, part: str, methods: Sequence[str]) -> Any:
    declared = getattr(task, part, None)
    if declared is None:
        raise _wrong(f"{name} has no {part}; a task carries {', '.join(PARTS)}")

    def checked() -> Any:
        value = _resolved(declared, name) if isinstance(declared, str) else declared
        _check_part(name, part, value, methods)
        return value

    if part == "Task" and isinstance(declared, str):
        return lambda *arguments: checked()(*arguments)  # it may import torch: only when it is first made
    return checked()


def _check_part(name: str, part: str, value: Any, methods: Sequence[str]) -> None:
    """`ConfigError` where a part of a task lacks what it must have."""
    if part == "Config":
        if not (isinstance(value, type) and issubclass(value, RunConfig)):
            raise _wrong(f"Config of {name} is {value!r}, not a subclass of trainer.api.RunConfig")
        for field, usual in RunConfig.model_fields.items():
            own: Any = value.model_fields[field].annotation
            kind: Any = usual.annotation
            is_section = isinstance(kind, type) and issubclass(kind, Section)
            if is_section and not (isinstance(own, type) and issubclass(own, kind)):
                raise _wrong(f"{field} in the Config of {name} is {own!r}, not a subclass of {kind.__name__}")
        return
    moved = [keys for keys in ("LOSS_KEYS", "DATA_KEYS") if hasattr(value, keys)]
    if moved:
        cure = 'say at each of those settings what it is: setting(…, role="loss") or role="data"'
        raise _wrong(f"{part} of {name} names {' and '.join(moved)}, which nothing reads; {cure}")
    lacking = [method for method in methods if not hasattr(value, method)]
    if lacking:
        protocol = "TaskFiles" if part == "Files" else "Task"
        raise _wrong(f"{part} of {name} lacks {', '.join(lacking)}; see trainer.api.{protocol}")


def _resolved(reference: str, name: str) -> Any:
    """The object behind `"module:object"`; `name` is the task's own reference, for the error."""
    module_name, _, path = reference.partition(":")
    if not module_name or not path or ":" in path:
        raise _wrong(f"{reference!r} is not of the form package.module:object")
    value: Any = _imported(module_name, name)
    for attribute in path.split("."):
        if not hasattr(value, attribute):
            hint = did_you_mean(attribute, dir(value), cutoff=0.6)
            raise _wrong(f"{module_name} ({getattr(value, '__file__', value)}) has no {attribute}{hint}")
        value = getattr(value, attribute)
    return value


def _imported(module: str, name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # as `python -m` does; slots and loading processes get the same path
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            places = f"neither in {here} nor where Python looks (PYTHONPATH)"
            raise _wrong(f"no module {error.name} for {name}: {places}") from None
        raise _wrong(f"{module} cannot be imported: it needs {error.name}, which is not installed") from error
    except ConfigError:
        raise
    except Exception as error:
        raise _wrong(f"{module} cannot be imported: {type(error).__name__}: {error}") from error


def _wrong(what: str) -> ConfigError:
    return ConfigError([Problem("task", what)])
