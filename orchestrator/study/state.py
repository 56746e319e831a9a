"""What is known of every trial, in memory: plain data that policies decide on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RUNNING, PAUSED, COMPLETED, PRUNED, FAILED = "running", "paused", "completed", "pruned", "failed"
FINAL = frozenset({COMPLETED, PRUNED, FAILED})
SAMPLED = -1


@dataclass
class TrialState:
    """One trial. `values` and `losses` are by epoch, `results` are the values at the rungs that it reached.

    `untold` are values that a kill left without the rest of their evaluation: the checkpoint tells them again.

    `ended`, `slots` and `parts`, by epoch, are for those who look on: when an evaluation came, in seconds of the study,
    from where, and the seconds that opening the trial, evaluating and waiting for the checkpoint took. So is `wasted`:
    slot, begin, end and kind of what led to no evaluation. No decision reads them, and they are all that an
    interruption may change.

    `spared` says, by rung, as what a trial went on whose rank would not have let it (`policy.trust`).

    `index` is its place in the plan's list of trials, SAMPLED where the sampler chose it. `rung` is the one that it
    works towards, or rests on. `origin` is the trial whose result a duplicate takes, `retry_of` the failed one that
    this one tries again. `weights` is the checkpoint that a promoted run starts from, if any. `eliminated`: by the
    user's threshold.
    """

    number: int
    index: int
    overrides: Mapping[str, Any]
    config_key: str = ""
    status: str = RUNNING
    rung: int = 1
    values: dict[int, float] = field(default_factory=dict)
    losses: dict[int, float] = field(default_factory=dict)
    results: dict[int, float] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict, compare=False)
    slots: dict[int, str] = field(default_factory=dict, compare=False)
    parts: dict[int, list[float]] = field(default_factory=dict, compare=False)
    wasted: list[list[Any]] = field(default_factory=list, compare=False)
    untold: dict[int, float] = field(default_factory=dict, compare=False)
    spared: dict[int, str] = field(default_factory=dict)
    eliminated: bool = False
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
    weights: str = ""
    decisions: list[tuple[int, str]] = field(default_factory=list)

    @property
    def trial_id(self) -> int:
        """What people call it: counted from 1."""
        return self.number + 1

    @property
    def label(self) -> str:
        """What messages call it."""
        if self.source_trial:
            start = " from its checkpoint" if self.weights else ""
            return f"trial {self.source_trial} in full{start}, seed {self.seed_index}"
        return f"trial {self.trial_id}"

    @property
    def folder(self) -> str:
        """Where its files lie, as seen from the study's folder: `trials/0007`; if promoted, `full/0007-seed0`, or
        `full/0007-seed0-continued` where it started from a checkpoint: the same trial and seed may train both ways."""
        if self.source_trial:
            return f"full/{self.source_trial:04d}-seed{self.seed_index}{'-continued' if self.weights else ''}"
        return trial_folder(self.trial_id)

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

    @property
    def reached(self) -> int:
        """The highest rung with a result; 0 before the first."""
        return max(self.results, default=0)

    @property
    def result(self) -> float:
        """The value at the highest rung with one, by which trials are ranked."""
        return self.results[self.reached]

    @property
    def failure_words(self) -> str:
        return f"failed ({self.failure_kind}): {self.failure_line}"

    def best(self, maximize: bool, after_epoch: int = 0) -> float | None:
        """The best evaluation after an epoch; of all where that leaves none."""
        pick = max if maximize else min
        later = [value for epoch, value in self.values.items() if epoch > after_epoch]
        return pick(later or self.values.values(), default=None)

    @property
    def is_ranked(self) -> bool:
        """Whether it has a result of its own, and neither failed nor fell to the user's threshold."""
        return self.origin is None and bool(self.results) and not self.eliminated and self.status != FAILED

    def place(self, maximize: bool) -> tuple[int, float, int]:
        """What trials with a result are ranked by, the least first: the highest rung, the best value, the earliest."""
        return -self.reached, -self.result if maximize else self.result, self.number

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def take_result(self, origin: TrialState) -> None:
        """Makes this trial a duplicate of `origin`: its status and values, but no time or epochs of its own."""
        self.origin, self.status, self.rung = origin.number, origin.status, origin.rung
        self.values, self.losses, self.results = dict(origin.values), dict(origin.losses), dict(origin.results)
        self.checkpoint, self.eliminated = origin.checkpoint, origin.eliminated
        self.failure_kind, self.failure_line = origin.failure_kind, origin.failure_line


def trial_folder(trial_id: int) -> str:
    """Where a trial of the search has its files."""
    return f"trials/{trial_id:04d}"


@dataclass
class StudyState:
    """All trials by number, in its order, and what the study has spent in earlier calls.

    `exhausted`: the sampler has nothing left to propose.
    """

    trials: dict[int, TrialState] = field(default_factory=dict)
    seconds_before: float = 0.0
    sequence: int = 0
    exhausted: bool = False

    def decide(self, trial: TrialState, line: str) -> None:
        """Every change of a trial's state has a line with its reason, and a place in the order of all."""
        self.sequence += 1
        trial.reason = line
        trial.decisions.append((self.sequence, line))

    def in_order(self) -> list[TrialState]:
        return list(self.trials.values())

    def with_status(self, *statuses: str) -> list[TrialState]:
        return [trial for trial in self.in_order() if trial.status in statuses]

    def standing(self) -> list[TrialState]:
        """All but those that were tried again: a failed trial leaves its place to its retry."""
        retried = {trial.retry_of for trial in self.in_order()}
        return [trial for trial in self.in_order() if trial.number not in retried]

    def failures(self) -> list[TrialState]:
        """What failed by itself and was not tried again."""
        return [trial for trial in self.standing() if trial.status == FAILED and trial.origin is None]

    def asked(self) -> set[int]:
        """Places in the plan's list that have a trial already."""
        return {trial.index for trial in self.trials.values()}

    def opened(self) -> int:
        """How many trials the study has had; one that is tried again counts once."""
        return sum(trial.retry_of is None for trial in self.trials.values())

    def drawn(self) -> int:
        """How many of them the sampler chose."""
        return sum(trial.retry_of is None and trial.index == SAMPLED for trial in self.trials.values())

    def original(self, config_key: str) -> TrialState | None:
        """The trial that trains a configuration; the newest where it was tried again."""
        same = [t for t in self.in_order() if t.origin is None and t.config_key == config_key]
        return same[-1] if same and config_key else None

    def duplicates(self, trial: TrialState) -> list[TrialState]:
        """The trials that take this one's result."""
        return [other for other in self.in_order() if other.origin == trial.number]

    def lost_before(self, trial: TrialState) -> int:
        """How often a trial lost its process; what it had lost before a `retry` does not count."""
        if trial.retry_of is None:
            return trial.retries
        return trial.retries - self.trials[trial.retry_of].retries - 1

    def slot_seconds(self) -> float:
        """Time that slots spent on trials: GPU-seconds where slots have one."""
        return sum(trial.seconds for trial in self.trials.values() if trial.origin is None)

    def ranked(self, maximize: bool) -> list[TrialState]:
        """Trials with a result of their own, best first: by the highest rung reached, then value, then number.

        Neither failed ones nor those that fell to the user's threshold: what may be promoted.
        """
        return sorted((t for t in self.in_order() if t.is_ranked), key=lambda t: t.place(maximize))
