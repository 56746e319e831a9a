"""The state of one trial: its configuration, its evaluations and its status."""

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

    `loss` is None where a killed driver recorded only the value. The other fields are for reports only, and an
    interruption may change them: the slot, the end (`ended`, in seconds of the study), and the seconds for opening the
    trial, for the evaluation and for waiting for the checkpoint (None: not known, in studies of older versions).
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
        """The same evaluation without slot and times."""
        return Evaluated(self.epoch, self.value, self.loss)


@dataclass
class TrialState:
    """The state of one trial.

    `index` is its place in the plan's list of trials, or SAMPLED where the sampler chose it. `evaluations` are by epoch
    in rising order, `results` are the values at the rungs that it has reached. `rung` is the one that it is trained
    towards, or is paused at. `origin` is the trial whose result a duplicate takes, `retry_of` the failed trial that
    this one repeats. `weights` is the checkpoint that a promoted run starts from, if any. `eliminated`: it missed the
    user's threshold. `spared`: by rung, the role in which it continued in spite of its rank (`study.draws`).

    `untold` are evaluations of which a killed driver recorded only the value; training reports them again from the
    checkpoint. `wasted` lists slot, begin, end and kind of time without an evaluation; no decision depends on it.
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
        """The number that users see, counted from 1."""
        return self.number + 1

    @property
    def label(self) -> str:
        """Its name in messages."""
        if self.source_trial:
            start = " from its checkpoint" if self.weights else ""
            return f"trial {self.source_trial} in full{start}, seed {self.seed_index}"
        return f"trial {self.trial_id}"

    def add(self, evaluation: Evaluated) -> None:
        """Records an evaluation; epochs must come in rising order."""
        self.evaluations[evaluation.epoch] = evaluation

    def keep_untold(self) -> None:
        """Accepts the evaluations that were recorded only in part, because training will not report them again."""
        self.evaluations = dict(sorted({**self.untold, **self.evaluations}.items()))

    @property
    def values(self) -> Mapping[int, float]:
        """The primary metric by epoch."""
        return {epoch: one.value for epoch, one in self.evaluations.items()}

    @property
    def last(self) -> Evaluated | None:
        """The last evaluation."""
        return self.evaluations[next(reversed(self.evaluations))] if self.evaluations else None

    @property
    def epochs(self) -> int:
        """The number of epochs that are trained and evaluated."""
        return next(reversed(self.evaluations), 0)

    @property
    def value(self) -> float | None:
        """The primary metric of the last evaluation."""
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
        """The value at the highest rung that it has reached, by which trials are ranked."""
        return self.results[self.reached]

    @property
    def failure_words(self) -> str:
        """As messages show it: `failed (nan): the loss is not finite`."""
        return f"failed ({self.failure_kind}): {self.failure_line}"

    @property
    def is_ranked(self) -> bool:
        """Whether it has a result of its own, has not failed and has not missed the user's threshold."""
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
