"""Where new trials come from: the plan's list in its order, then the sampler."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.study.state import StudyState


@dataclass(frozen=True)
class Ask:
    """Open a new trial: for the place `index` in the plan's list, or one that the sampler chooses (None)."""

    index: int | None


@dataclass(frozen=True)
class Supply:
    """`listed` places in the plan's list; `n_trials` in the whole study; `sampled`: there is a search space."""

    listed: int
    n_trials: int
    sampled: bool = False

    def next(self, state: StudyState) -> Ask | None:
        """The next new trial; None where there is none."""
        if state.opened() >= self.n_trials:
            return None
        asked = state.asked() if self.listed else set()
        for index in range(min(self.listed, self.n_trials)):
            if index not in asked:
                return Ask(index)
        return Ask(None) if self.sampled and not state.exhausted else None
