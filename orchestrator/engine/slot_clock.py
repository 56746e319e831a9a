"""What the slots' time goes into, for those who look on; no decision reads it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class SlotClock:
    """By the name of a slot, in seconds of the study: since when it has worked without a result, and how long it took
    to open what it works on."""

    _since: dict[str, float] = field(default_factory=dict)
    _opening: dict[str, float] = field(default_factory=dict)

    def submitted(self, slot: str, now: float) -> None:
        self._since[slot] = now
        self._opening[slot] = 0.0

    def started(self, slot: str, now: float) -> None:
        self._opening[slot] = now - self._since.get(slot, now)

    def evaluated(self, slot: str, now: float) -> float:
        """A result; returns how long opening took, where this is the first one since."""
        self._since[slot] = now
        return self._opening.pop(slot, 0.0)

    def broken(self, slot: str, now: float) -> float:
        """The slice is lost or failed; returns since when there was no result."""
        return self._since.get(slot, now)
