"""Checks of a configuration that only the training libraries can make: before anything runs, and once in a process.

Imports no torch; a check may.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from trainer.errors import ConfigError, DataError, Problem

Check = tuple[object, Callable[[], object]]  # what its result depends on, as plain data; what raises an error
_LONG_SECONDS, _PATIENCE_SECONDS = 5.0, 300.0


@dataclass
class Verdicts:
    """What a process knows: the checks that passed, and those that took long to fail.

    Of these, when they failed, by the monotonic clock, and with which mistakes.
    """

    passed: set[str] = field(default_factory=set)
    failed: dict[str, tuple[float, Sequence[Problem]]] = field(default_factory=dict)


VERDICTS = Verdicts()  # of this process


def run_checks(checks: Iterable[Check]) -> None:
    """`ConfigError` with the mistakes that all checks find; a check that has passed is not made again.

    A study checks every listed trial, and most of them differ in what no check depends on. One that took long to fail,
    because a network does not answer, is not waited for again for each of them.
    """
    problems: list[Problem] = []
    for subject, check in checks:
        key = json.dumps(subject, default=str, sort_keys=True)
        began = monotonic()
        failed_at, mistakes = VERDICTS.failed.get(key, (-math.inf, ()))
        if began - failed_at < _PATIENCE_SECONDS:
            problems += mistakes
        elif key not in VERDICTS.passed:
            try:
                check()
                VERDICTS.passed.add(key)
            except (ConfigError, DataError) as error:
                found = error.problems if isinstance(error, ConfigError) else (Problem("", str(error)),)
                problems += found
                now = monotonic()
                if now - began > _LONG_SECONDS:
                    VERDICTS.failed[key] = now, found
    if problems:
        raise ConfigError(problems)


def section(settings: Any) -> dict[str, Any]:
    """A section of a configuration as plain data."""
    plain: dict[str, Any] = settings.model_dump()
    return plain
