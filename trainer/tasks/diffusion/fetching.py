"""Published parts: where their weights are, what is said when they cannot be had, and one copy a process."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from trainer.checkpoint import first_line
from trainer.errors import ConfigError, Problem
from trainer.imagefiles import file_stats
from trainer.randomness import untouched
from trainer.tasks import load

Part = TypeVar("Part")
_KEPT = 2  # an autoencoder and a text model
_parts: dict[Hashable, Any] = {}


def shared_part(key: Hashable, folder: Path, make: Callable[[], Part]) -> Part:
    """A frozen part, loaded once for all runs of this process; anew where the files of its folder have changed."""
    state = tuple(sorted(file_stats(folder))) if folder.is_dir() else ()
    whole = (key, state)
    if whole not in _parts:
        with untouched():
            made = make()
        while len(_parts) >= _KEPT:
            del _parts[next(iter(_parts))]
        _parts[whole] = made
    found: Part = _parts[whole]
    return found


def subfolder_of(name: str, usual: str) -> str | None:
    """Where in a folder a part is: in its usual subfolder, or at the top. A hub's name says nothing about it."""
    folder = Path(name)
    inside = folder.is_dir() and not (folder / "config.json").is_file() and (folder / usual / "config.json").is_file()
    return usual if inside else None


@contextmanager
def explained(section: str, name: str, what: str) -> Iterator[None]:
    """What goes wrong in fetching and reading becomes one error that says what else to do."""
    try:
        yield
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, TypeError) as error:
        where = f"{section}.pretrained_model_name"
        fix = f"give a folder with config.json and weights with {where}=FOLDER (and {section}.subfolder where it is "
        fix += f"not at the top), or use the built-in one with {section}.type=builtin"
        raise ConfigError(
            [Problem(where, f"{what} could not be loaded from {name} ({first_line(error)}); {fix}")]
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' bars and advice."""
    modules = [load("transformers.utils:logging"), load("diffusers.utils:logging")]
    levels = [module.get_verbosity() for module in modules]
    for module in modules:
        module.set_verbosity_error()
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module, level in zip(modules, levels, strict=True):
            module.set_verbosity(level)
            module.enable_progress_bar()
