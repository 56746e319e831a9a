"""Costly things done now and then, for a small share of a study's time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Pace:
    """First after `first` seconds; then not before `least` seconds, nor `share` times as long as it took, are over."""

    first: float
    least: float
    share: float
    _due: float = field(init=False)

    def __post_init__(self) -> None:
        self._due = time.monotonic() + self.first

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    @contextmanager
    def doing(self) -> Iterator[None]:
        """Around the thing itself, whose time counts from its beginning."""
        began = time.monotonic()
        yield
        self._due = began + max(self.least, (time.monotonic() - began) * self.share)
