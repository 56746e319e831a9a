"""What was found out once and saves finding it out again: small tables in the cache folder, by a key for all that the
finding hangs on. Only hints: a table that cannot be read or written costs no more than finding out again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from trainer.errors import TrainingError
from trainer.store.cache_folder import cache_dir
from trainer.store.text import write_whole

MOST_KEPT = 1000  # the oldest are forgotten


class Hints:
    """One table, newest last."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read(self) -> dict[str, Any]:
        """Everything that is known; nothing where the file is missing or damaged."""
        with suppress(OSError, ValueError):
            found = json.loads((cache_dir() / self._name).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        return {}

    def keep(self, found: Mapping[str, Any]) -> None:
        """Adds what was found, or puts it in the place of what was known."""
        kept = {key: value for key, value in self.read().items() if key not in found} | dict(found)
        with suppress(OSError, TrainingError):
            path = cache_dir() / self._name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(dict(list(kept.items())[-MOST_KEPT:]), indent=0))


def hint_key(about: Mapping[str, Any]) -> str:
    """A key for all that a finding hangs on: plain data."""
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:32]
