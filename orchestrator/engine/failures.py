"""What failures mean for a study: when a lost slice is tried again, when a slot is set aside, when to give up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from orchestrator.study.state import StudyState

LOST_RETRIES = 2
SAME_FAILURES = 3  # so many code, config or data failures in a row with the same words stop the study
SLOT_LOSSES = 3  # so many slices lost in a row on one slot set it aside
_TELLING = ("code", "config", "data")  # kinds that another trial will most likely meet too


@dataclass
class FailurePolicy:
    """Counts failures; knows nothing of slots but their names."""

    max_failures: int
    aside: set[str] = field(default_factory=set)
    _streak: tuple[str, int] = ("", 0)
    _losses: Counter[str] = field(default_factory=Counter)

    def slice_ended(self, slot: str) -> None:
        """A slice came to its end on a slot: neither is suspect."""
        self._losses[slot] = 0
        self._streak = ("", 0)

    def slice_failed(self, slot: str) -> None:
        """A slice raised an error: the slot did its part."""
        self._losses[slot] = 0

    def slice_lost(self, slot: str, others: int) -> bool:
        """A slot's process died; True where the slot is set aside, which needs `others` that go on."""
        self._losses[slot] += 1
        if self._losses[slot] >= SLOT_LOSSES and others:
            self.aside.add(slot)
            return True
        return False

    def give_up(self, kind: str, line: str, state: StudyState) -> str:
        """After a trial failed: why the study should start no new trials; empty where it should."""
        if kind in _TELLING:
            words, times = self._streak
            self._streak = (line, times + 1 if words == line else 1)
        else:
            self._streak = ("", 0)
        if self._streak[1] >= SAME_FAILURES:
            return f"{SAME_FAILURES} trials in a row failed in the same way: {line}"
        return self.too_many(state)

    def too_many(self, state: StudyState) -> str:
        """Words on a study that has failed too often over all its calls; empty where it has not."""
        failed = state.failures()
        if len(failed) < self.max_failures:
            return ""
        return f"{len(failed)} trial{'' if len(failed) == 1 else 's'} failed (--max-failures {self.max_failures})"
