"""Mistakes in what the user asked for, collected so that one error lists them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trainer.api import ConfigError, Problem


class Mistakes:
    """A list of problems that several checks add to; `raise_if_any` raises them as one `ConfigError`."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, where: str, what: str) -> None:
        self.problems.append(Problem(where, what))

    def take(self, error: ConfigError, prefix: str = "") -> None:
        for problem in error.problems:
            where = ": ".join(part for part in (prefix, problem.where) if part)
            self.problems.append(Problem(where, problem.what))

    @contextmanager
    def collected(self, prefix: str = "") -> Iterator[None]:
        """Catches a `ConfigError` of the block and keeps its problems; the rest of the block is skipped."""
        try:
            yield
        except ConfigError as error:
            self.take(error, prefix)

    def raise_if_any(self) -> None:
        if self.problems:
            raise ConfigError(list(dict.fromkeys(self.problems)))
