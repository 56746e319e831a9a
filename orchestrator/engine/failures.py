"""The rules about failures: when a lost slice is retried, when a slot is no longer used, when the study stops."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from orchestrator.study.state import StudyState
from orchestrator.study.text import counted

LOST_RETRIES = 2
SAME_FAILURES = 3  # after so many failures of a kind in `_REPEATING` in a row with the same message the study stops
SLOT_LOSSES = 3  # after so many lost slices in a row a slot is no longer used
_REPEATING = ("code", "config", "data")  # kinds of failures that most likely happen in the next trial, too


@dataclass
class FailurePolicy:
    """Counts failures of trials and of slots, which it knows by their names; `aside` are the slots not to use."""

    max_failures: int
    aside: set[str] = field(default_factory=set)
    _streak: tuple[str, int] = ("", 0)
    _losses: Counter[str] = field(default_factory=Counter)

    def slice_ended(self, slot: str) -> None:
        """A slice ended normally on a slot."""
        self._losses[slot] = 0
        self._streak = ("", 0)

    def slice_failed(self, slot: str) -> None:
        """A slice raised an error: no fault of the slot."""
        self._losses[slot] = 0

    def slice_lost(self, slot: str, others: int) -> bool:
        """A slot's process died. True where the slot is set aside, which never happens without `others` in use."""
        self._losses[slot] += 1
        if self._losses[slot] >= SLOT_LOSSES and others:
            self.aside.add(slot)
            return True
        return False

    def give_up(self, kind: str, line: str, state: StudyState) -> str:
        """After a failed trial: why the study should start no new trials; empty where it should continue."""
        if kind in _REPEATING:
            last_line, times = self._streak
            self._streak = (line, times + 1 if last_line == line else 1)
        else:
            self._streak = ("", 0)
        if self._streak[1] >= SAME_FAILURES:
            return f"{SAME_FAILURES} trials in a row failed in the same way: {line}"
        return self.too_many(state)

    def too_many(self, state: StudyState) -> str:
        """Why the study should stop where too many trials have failed in all its calls; empty where it should not."""
        failed = len(state.failures())
        if failed < self.max_failures:
            return ""
        return f"{counted(failed, 'trial')} failed (--max-failures {self.max_failures})"
