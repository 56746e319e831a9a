"""The random choice of trials that continue in spite of their rank, so that a study can measure its own decisions.

A draw depends only on the study's seed and the trial's number. So each trial is drawn with a known probability,
whatever its value is, and estimates from the drawn trials are unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Drawn = Literal["", "anchor", "audit"]
_ANCHOR, _AUDIT = 1, 2


@dataclass(frozen=True)
class Draws:
    """Shares of trials that are drawn. `anchors`: of the trials that would be paused at a rung, these continue to the
    next rung. `audit`: of those that would be paused or pruned, these are trained to the end."""

    anchors: float = 0.0
    audit: float = 0.0
    seed: int = 0

    def draw(self, number: int, rung: int) -> Drawn:
        """Whether a trial that would be paused at a rung continues, and in which role."""
        if self.audited(number):
            return "audit"
        return "anchor" if self._share(_ANCHOR, number, rung) < self.anchors else ""

    def audited(self, number: int) -> bool:
        """Whether a trial is trained to the end, whatever its values are."""
        return self._share(_AUDIT, number, 0) < self.audit

    @property
    def chance(self) -> float:
        """The probability that a trial which would be paused continues."""
        return 1.0 - (1.0 - self.anchors) * (1.0 - self.audit)

    def _share(self, kind: int, number: int, rung: int) -> float:
        return float(np.random.default_rng([self.seed, kind, number, rung]).random())


NO_DRAWS = Draws()
