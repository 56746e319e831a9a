"""One trial as policies see it: its configuration, its evaluations, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RUNNING, PAUSED, COMPLETED, PRUNED, FAILED = "running", "paused", "completed", "pruned", "failed"
FINAL = frozenset({COMPLETED, PRUNED, FAILED})
SAMPLED = -1


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluation of a trial: the primary metric (`value`) and the validation loss after `epoch` epochs.

    `loss` is None where a killed driver recorded only the value. The rest is for reports alone, and all that an
    interruption may change: the slot it came from, when (`ended`, in seconds of the study), and the seconds that
    opening the trial, evaluating and waiting for the checkpoint took (None: not known, in studies of older versions).
    """

    epoch: int
    value: float
    loss: float | None = None
    slot: str = field(default="", compare=False)
    ended: float | None = field(default=None, compare=False)
    opening_seconds: float | None = field(default=None, compare=False)
    evaluation_seconds: float | None = field(default=None, compare=False)
    checkpoint_seconds: float | None = field(default=None, compare=False)

    def untimed(self) -> Evaluated:
        """The same without where and when it came."""
        return Evaluated(self.epoch, self.value, self.loss)


@dataclass
class TrialState:
    """One trial. `evaluations` are by epoch in rising order, `results` are the values at the rungs that it reached.

    `untold` are evaluations of which a killed driver recorded only the value: the checkpoint reports them again.
    `wasted` lists slot, begin, end and kind of what led to no evaluation; no decision reads it.

    `spared` says, by rung, why a trial continued although its rank would not have let it (`study.draws`).

    `index` is its place in the plan's list of trials, SAMPLED where the sampler chose it. `rung` is the one that it
    works towards, or is paused at. `origin` is the trial whose result a duplicate takes, `retry_of` the failed one that
    this one tries again. `weights` is the checkpoint that a promoted run starts from, if any. `eliminated`: by the
    user's threshold.
    """

    number: int
    index: int
    overrides: Mapping[str, Any]
    config_key: str = ""
    status: str = RUNNING
    rung: int = 1
    evaluations: dict[int, Evaluated] = field(default_factory=dict)
    results: dict[int, float] = field(default_factory=dict)
    wasted: list[list[Any]] = field(default_factory=list, compare=False)
    untold: dict[int, Evaluated] = field(default_factory=dict, compare=False)
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

    def add(self, evaluation: Evaluated) -> None:
        """Records the evaluation of an epoch; epochs come in rising order."""
        self.evaluations[evaluation.epoch] = evaluation

    def keep_untold(self) -> None:
        """Takes what a killed driver recorded only in part as it is: the checkpoint will not report it again."""
        self.evaluations = dict(sorted({**self.untold, **self.evaluations}.items()))

    @property
    def values(self) -> Mapping[int, float]:
        """The primary metric by epoch."""
        return {epoch: one.value for epoch, one in self.evaluations.items()}

    @property
    def last(self) -> Evaluated | None:
        """The newest evaluation."""
        return self.evaluations[next(reversed(self.evaluations))] if self.evaluations else None

    @property
    def epochs(self) -> int:
        """How many epochs are trained and evaluated."""
        return next(reversed(self.evaluations), 0)

    @property
    def value(self) -> float | None:
        """The primary metric of the newest evaluation."""
        return self.last.value if self.last else None

    @property
    def loss(self) -> float | None:
        """The validation loss of the same evaluation."""
        return self.last.loss if self.last else None

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
        """As messages show it: `failed (nan): the loss is not finite`."""
        return f"failed ({self.failure_kind}): {self.failure_line}"

    @property
    def is_ranked(self) -> bool:
        """Whether it has a result of its own, and neither failed nor missed the user's threshold."""
        return self.origin is None and bool(self.results) and not self.eliminated and self.status != FAILED

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def take_result(self, origin: TrialState) -> None:
        """Makes this trial a duplicate of `origin`: its status and values, but no time or epochs of its own."""
        self.origin, self.status, self.rung = origin.number, origin.status, origin.rung
        self.evaluations, self.results = dict(origin.evaluations), dict(origin.results)
        self.checkpoint, self.eliminated = origin.checkpoint, origin.eliminated
        self.failure_kind, self.failure_line = origin.failure_kind, origin.failure_line
