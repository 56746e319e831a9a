"""What only the libraries that train can tell of a configuration: looked at before anything runs, once in a process.

Imports no torch; what a look calls may.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from trainer.errors import ConfigError, Problem

Look = tuple[object, Callable[[], object]]  # what it hangs on, as plain data, and what raises a `ConfigError`
_sound: set[str] = set()


def look_at(looks: Iterable[Look]) -> None:
    """`ConfigError` with all that the looks find; what was found sound is not looked at again.

    A study tries out every listed trial, and most of them differ in what no look hangs on.
    """
    problems: list[Problem] = []
    for subject, look in looks:
        known = json.dumps(subject, default=str, sort_keys=True)
        if known in _sound:
            continue
        try:
            look()
            _sound.add(known)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def section(settings: Any) -> dict[str, Any]:
    """A section of a configuration as plain data."""
    plain: dict[str, Any] = settings.model_dump()
    return plain
