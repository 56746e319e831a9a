"""Published models: fetching, the error where that fails, and one copy a process."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from trainer.checkpoints.weights import quiet
from trainer.config.registry import load
from trainer.data.image_folders import file_stats
from trainer.errors import ConfigError, Problem, first_line
from trainer.learning.randomness import untouched

Part = TypeVar("Part")
_KEPT = 2  # an autoencoder and a text model
_SILENT_SECONDS = 300.0
_WHAT = {"vae": "an autoencoder", "text_encoder": "a text model"}


@dataclass
class Loaded:
    """What a process keeps from one run to the next: a few loaded parts, and when the hub last did not answer."""

    parts: dict[Hashable, Any] = field(default_factory=dict)
    hub_silent_at: float | None = None  # by the monotonic clock


LOADED = Loaded()  # of this process


def shared_part(key: Hashable, folder: Path, make: Callable[[], Part]) -> Part:
    """A frozen part, loaded once for all runs of this process, and again where the files of its folder have changed."""
    state = tuple(sorted(file_stats(folder))) if folder.is_dir() else ()
    whole = (key, state)
    if whole not in LOADED.parts:
        with untouched():
            made = make()
        while len(LOADED.parts) >= _KEPT:
            del LOADED.parts[next(iter(LOADED.parts))]
        LOADED.parts[whole] = made
    part: Part = LOADED.parts[whole]
    return part


def subfolder_of(name: str, usual: str) -> str | None:
    """The subfolder of a part in a folder: its usual one, or None for the top; None for a hub's name."""
    folder = Path(name)
    inside = folder.is_dir() and not (folder / "config.json").is_file() and (folder / usual / "config.json").is_file()
    return usual if inside else None


@contextmanager
def loading(section: str, name: str) -> Iterator[None]:
    """Turns off progress bars and warnings of the libraries; their errors become one `ConfigError` with advice."""
    where, what = f"{section}.pretrained_model_name", f"{_WHAT[section]} could not be loaded from {name}"
    fix = f"give a folder with config.json and weights with {where}=FOLDER (and {section}.subfolder where it is "
    fix += f"not at the top), or use the built-in one with {section}.type=builtin"
    try:
        with quiet("transformers", "diffusers", "huggingface_hub"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of one library for another
            yield
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, TypeError) as error:
        why = first_line(error)
        if _unreached(error):
            why = "the hub cannot be reached, and it is not in its cache"
            LOADED.hub_silent_at = time.monotonic()
        raise ConfigError([Problem(where, f"{what} ({why}); {fix}")]) from None


def fetched(get: Callable[..., Part], name: str, **options: Any) -> Part:
    """What a library's `get` loads from a folder, from its cache of the hub, or else from the hub.

    Otherwise the hub would have to answer for every file of every run, although nothing is fetched; and where it
    did not answer a moment ago it is not asked again, which takes the libraries half a minute for each part.
    """
    try:
        return get(name, local_files_only=True, **options)
    except OSError:
        if LOADED.hub_silent_at is not None and time.monotonic() - LOADED.hub_silent_at < _SILENT_SECONDS:
            raise
    return get(name, **options)


def _unreached(error: BaseException | None) -> bool:
    """Whether an error was caused by a hub that does not answer."""
    while error is not None:
        if isinstance(error, load("huggingface_hub.errors:LocalEntryNotFoundError")):
            return True
        error = error.__cause__ or error.__context__
    return False
