"""What is known of every trial, in memory: plain data that policies decide on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RUNNING, PAUSED, COMPLETED, PRUNED, FAILED = "running", "paused", "completed", "pruned", "failed"
FINAL = frozenset({COMPLETED, PRUNED, FAILED})


@dataclass
class TrialState:
    """One trial. `values` and `losses` are by epoch; `index` is its place in the plan's list of trials.

    `origin` is the trial whose result a duplicate takes, `retry_of` the failed one that this one tries again.
    """

    number: int
    index: int
    overrides: Mapping[str, Any]
    config_key: str = ""
    status: str = RUNNING
    rung: int = 1
    values: dict[int, float] = field(default_factory=dict)
    losses: dict[int, float] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    reason: str = ""
    retries: int = 0
    checkpoint: str = ""
    device: str = ""
    failure_kind: str = ""
    failure_line: str = ""
    origin: int | None = None
    retry_of: int | None = None
    seed_index: int = 0
    source_trial: int = 0
    decisions: list[tuple[int, str]] = field(default_factory=list)

    @property
    def trial_id(self) -> int:
        """What people call it: counted from 1."""
        return self.number + 1

    @property
    def epochs(self) -> int:
        return max(self.values, default=0)

    @property
    def value(self) -> float | None:
        """The primary metric of the last evaluation."""
        return self.values[self.epochs] if self.values else None

    @property
    def loss(self) -> float | None:
        """The validation loss of the same evaluation."""
        return self.losses.get(self.epochs)

    def best(self, maximize: bool) -> float | None:
        pick = max if maximize else min
        return pick(self.values.values(), default=None)

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def take_result(self, origin: TrialState) -> None:
        """Makes this trial a duplicate of `origin`: its status and values, but no time or epochs of its own."""
        self.origin, self.status, self.rung = origin.number, origin.status, origin.rung
        self.values, self.losses, self.checkpoint = dict(origin.values), dict(origin.losses), origin.checkpoint
        self.failure_kind, self.failure_line = origin.failure_kind, origin.failure_line


@dataclass
class StudyState:
    """All trials by number, and what the study has spent in earlier calls."""

    trials: dict[int, TrialState] = field(default_factory=dict)
    seconds_before: float = 0.0
    sequence: int = 0

    def in_order(self) -> list[TrialState]:
        return sorted(self.trials.values(), key=lambda trial: trial.number)

    def with_status(self, *statuses: str) -> list[TrialState]:
        return [trial for trial in self.in_order() if trial.status in statuses]

    def asked(self) -> set[int]:
        """Places in the plan's list that have a trial already."""
        return {trial.index for trial in self.trials.values()}

    def original(self, config_key: str) -> TrialState | None:
        """The trial that has a configuration's result; a retry's where it was tried again."""
        done = [t for t in self.in_order() if t.origin is None and t.is_final and t.config_key == config_key]
        return done[-1] if done and config_key else None

    def lost_before(self, trial: TrialState) -> int:
        """How often a trial lost its process; what it had lost before a `retry` does not count."""
        if trial.retry_of is None:
            return trial.retries
        return trial.retries - self.trials[trial.retry_of].retries - 1

    def slot_seconds(self) -> float:
        """Time that slots spent on trials: GPU-seconds where slots have one."""
        return sum(trial.seconds for trial in self.trials.values() if trial.origin is None)

    def ranked(self, maximize: bool) -> list[TrialState]:
        """Completed trials that trained themselves, best first: by rung, then value, then number."""
        done = [t for t in self.in_order() if t.status == COMPLETED and t.origin is None and t.value is not None]
        sign = -1.0 if maximize else 1.0
        return sorted(done, key=lambda t: (-t.rung, sign * (t.value or 0.0), t.number))
