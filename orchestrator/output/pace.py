"""A limit on how often expensive work is done, so that it takes only a small share of a study's time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Pace:
    """Work is due `first` seconds after the start, and then after `least` seconds or `share` times its own duration,
    whichever is longer."""

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
        """Put around the work, to measure how long it takes."""
        began = time.monotonic()
        yield
        self._due = began + max(self.least, (time.monotonic() - began) * self.share)
