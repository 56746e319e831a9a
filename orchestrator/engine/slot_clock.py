"""The use of the slots' time, for reports only: no decision depends on it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class SlotClock:
    """By the name of a slot, in seconds of the study: the time of its last result or submission, and the duration of
    opening its trial."""

    _since: dict[str, float] = field(default_factory=dict)
    _opening: dict[str, float] = field(default_factory=dict)

    def submitted(self, slot: str, now: float) -> None:
        self._since[slot] = now
        self._opening[slot] = 0.0

    def started(self, slot: str, now: float) -> None:
        self._opening[slot] = now - self._since.get(slot, now)

    def evaluated(self, slot: str, now: float) -> float:
        """A result came; returns the duration of opening for the first result after it, else 0."""
        self._since[slot] = now
        return self._opening.pop(slot, 0.0)

    def broken(self, slot: str, now: float) -> float:
        """The slice was lost or failed; returns the time since which there is no result."""
        return self._since.get(slot, now)
