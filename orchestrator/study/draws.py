"""Which trials continue although their rank would not let them: so that a study can measure what its choices are worth.

A draw is a function of the study's seed and the trial's number alone, so each trial is drawn with a known chance,
whatever its value: that is what makes an estimate from the drawn ones unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Drawn = Literal["", "anchor", "audit"]
_ANCHOR, _AUDIT = 1, 2


@dataclass(frozen=True)
class Draws:
    """`anchors`: the share of the trials that would pause at a rung which continue to the next all the same. `audit`:
    the share of those that would pause or be pruned which are trained to the end."""

    anchors: float = 0.0
    audit: float = 0.0
    seed: int = 0

    def draw(self, number: int, rung: int) -> Drawn:
        """Whether a trial that would pause at a rung continues, and as what."""
        if self.audited(number):
            return "audit"
        return "anchor" if self._share(_ANCHOR, number, rung) < self.anchors else ""

    def audited(self, number: int) -> bool:
        """Whether a trial is trained to the end whatever its values on the way."""
        return self._share(_AUDIT, number, 0) < self.audit

    @property
    def chance(self) -> float:
        """The chance that a trial which would pause continues."""
        return 1.0 - (1.0 - self.anchors) * (1.0 - self.audit)

    def _share(self, kind: int, number: int, rung: int) -> float:
        return float(np.random.default_rng([self.seed, kind, number, rung]).random())


NO_DRAWS = Draws()
