"""Who is let go on although its rank would not: so that a study can measure what its own choices are worth.

A draw is a function of the study's seed and the trial's number alone, so each trial is spared with a known chance,
whatever its value: that is what makes an estimate from the spared ones unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Spared = Literal["", "anchor", "audit"]
_ANCHOR, _AUDIT = 1, 2


@dataclass(frozen=True)
class Trust:
    """`anchors`: the share of the trials that would rest on a rung which go on to the next all the same. `audit`: the
    share of those that would rest or be pruned which are trained to the end."""

    anchors: float = 0.0
    audit: float = 0.0
    seed: int = 0

    def spares(self, number: int, rung: int) -> Spared:
        """Whether a trial that would rest on a rung is let go on, and as what."""
        if self.audited(number):
            return "audit"
        return "anchor" if self._draw(_ANCHOR, number, rung) < self.anchors else ""

    def audited(self, number: int) -> bool:
        """Whether a trial is trained to the end whatever is found on the way."""
        return self._draw(_AUDIT, number, 0) < self.audit

    @property
    def chance(self) -> float:
        """That a trial which would rest goes on."""
        return 1.0 - (1.0 - self.anchors) * (1.0 - self.audit)

    def _draw(self, kind: int, number: int, rung: int) -> float:
        return float(np.random.default_rng([self.seed, kind, number, rung]).random())


NOBODY_SPARED = Trust()
