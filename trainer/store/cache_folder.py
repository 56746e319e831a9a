"""The cache folder: what is worth keeping between runs.

In it, small tables with results that are expensive to find again, each under a key made of everything that the result
depends on. A table that cannot be read or written only costs the time to find its results again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.errors import TrainingError
from trainer.store.text import write_whole

MOST_KEPT = 1000  # the oldest are forgotten


def cache_dir() -> Path:
    """`$RUNGWISE_CACHE`, else `$XDG_CACHE_HOME/rungwise`, else `~/.cache/rungwise`."""
    named = os.environ.get("RUNGWISE_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rungwise"


class Hints:
    """One table of results by key, newest last."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read(self) -> dict[str, Any]:
        """The whole table; empty where the file is missing or damaged."""
        with suppress(OSError, ValueError):
            table = json.loads((cache_dir() / self._name).read_text(encoding="utf-8"))
            if isinstance(table, dict):
                return table
        return {}

    def keep(self, results: Mapping[str, Any]) -> None:
        """Adds results, or replaces earlier ones of the same keys."""
        kept = {key: value for key, value in self.read().items() if key not in results} | dict(results)
        with suppress(OSError, TrainingError):
            path = cache_dir() / self._name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(dict(list(kept.items())[-MOST_KEPT:]), indent=0))


def hint_key(about: Mapping[str, Any]) -> str:
    """A key for everything that a result depends on, given as plain data."""
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:32]


def remembered(what: str, key: str, find: Callable[[], Any]) -> Any:
    """What `find` gives, as plain data, found once for each key and kept in the cache folder under `what`."""
    path = cache_dir() / what / f"{key}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    result = find()
    with suppress(OSError):  # without a cache folder it is computed again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(result))
    return result
