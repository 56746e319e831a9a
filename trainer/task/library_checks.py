"""What only the libraries that train can tell of a configuration: looked at before anything runs, once in a process.

Imports no torch; what a look calls may.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from trainer.errors import ConfigError, Problem

Look = tuple[object, Callable[[], object]]  # what it hangs on, as plain data, and what raises a `ConfigError`
_LONG_SECONDS, _PATIENCE_SECONDS = 5.0, 300.0
_sound: set[str] = set()
_failed: dict[str, tuple[float, Sequence[Problem]]] = {}  # when, by the monotonic clock, and what was found


def look_at(looks: Iterable[Look]) -> None:
    """`ConfigError` with all that the looks find; what was found sound is not looked at again.

    A study tries out every listed trial, and most of them differ in what no look hangs on. What took long to fail, a
    network that does not answer, is not waited for again for each of them.
    """
    problems: list[Problem] = []
    for subject, look in looks:
        known = json.dumps(subject, default=str, sort_keys=True)
        began = monotonic()
        failed_at, found = _failed.get(known, (-math.inf, ()))
        if began - failed_at < _PATIENCE_SECONDS:
            problems += found
        elif known not in _sound:
            try:
                look()
                _sound.add(known)
            except ConfigError as error:
                problems += error.problems
                now = monotonic()
                if now - began > _LONG_SECONDS:
                    _failed[known] = now, error.problems
    if problems:
        raise ConfigError(problems)


def section(settings: Any) -> dict[str, Any]:
    """A section of a configuration as plain data."""
    plain: dict[str, Any] = settings.model_dump()
    return plain
