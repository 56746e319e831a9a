"""The contract of a policy, and `decide`, the one place where a metric becomes a decision.

A policy answers two questions: what a free slot does next, and what becomes of a trial after a slice. To add one: a
file with a `PolicyKind`, and a line in `table.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from orchestrator.policies.supply import Ask, Supply
from orchestrator.study.draws import NO_DRAWS, Drawn, Draws
from orchestrator.study.ladder import Rung
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, PAUSED, PRUNED, RUNNING, TrialState
from trainer.api import Metric

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Continue:
    """Train this trial until the end of `until_epoch`, the next epoch with a possible decision."""

    number: int
    until_epoch: int


@dataclass(frozen=True)
class Climb:
    """Resume this paused trial on its next rung, for this `reason`."""

    number: int
    reason: str


Step = Continue | Climb | Ask


@dataclass(frozen=True)
class Verdict:
    """A policy's decision about a trial after an evaluation, with its reason.

    `go_on`: it keeps running on its rung (without a reason). `climb`: it keeps running on the next rung. `pause`: it
    waits until the policy resumes it. `prune` and `complete` end it. `eliminated`: it missed the user's threshold, so
    it is never promoted. `spared`: it continues in spite of its rank, because it was drawn at random.
    """

    action: Literal["go_on", "climb", "pause", "prune", "complete"]
    reason: str = ""
    eliminated: bool = False
    spared: Drawn = ""


class Policy(Protocol):
    """Decides from the state alone, so that an interrupted study decides in the same way as an undisturbed one.

    Anything that a policy remembers must follow from the states that it was given.
    """

    def next(self, state: StudyState, busy: Collection[int]) -> Step | None:
        """The next step for a free slot, None where there is none; `busy` are the trials in training now."""
        ...

    def judge(self, trial: TrialState, state: StudyState, stopped_because: str = "") -> Verdict:
        """The decision about a trial after a slice. `stopped_because`: why the run itself ended early, if it did."""
        ...


@dataclass(frozen=True)
class Setting:
    """The arguments of a policy. `options` are its own, all of them; `threshold` is `--early-stop-threshold`."""

    metric: Metric
    rungs: Sequence[Rung]
    supply: Supply
    options: Options = field(default_factory=dict)
    threshold: float | None = None
    draws: Draws = NO_DRAWS

    @property
    def reduction_factor(self) -> float | None:
        """η: the best ⌊n / η⌋ of n results on a rung continue; None where no rung decides."""
        factor: float | None = self.options.get("reduction_factor")
        return factor


@dataclass(frozen=True)
class Circumstances:
    """The facts about a study that the default of an option may depend on."""

    metric: Metric
    epochs: int
    threshold: float | None


def unchanged(options: Options, _given: Options, _circumstances: Circumstances) -> Options:
    return options


@dataclass(frozen=True)
class PolicyKind:
    """A kind of policy, as `--pruner` names it: a summary in one sentence, and its options with their defaults.

    `complete` gets all options, those that the user gave, and the circumstances. It returns the options that the study
    uses, or raises `ValueError` with what is wrong. `on_ladder`: it works with two or more rungs. `needs_ladder`:
    without a ladder from the user, one is derived from the budget. `draws`: the roles that it draws trials for at
    random. `needs_curves`: it needs real learning curves, so the price of a study is only an upper bound.
    """

    summary: str
    make: Callable[[Setting], Policy]
    options: Options = field(default_factory=dict)
    complete: Callable[[Options, Options, Circumstances], Options] = unchanged
    on_ladder: bool = False
    needs_ladder: bool = False
    draws: frozenset[Drawn] = frozenset()
    needs_curves: bool = False


def decide(
    policy: Policy, trial: TrialState, state: StudyState, rungs: Sequence[Rung], stopped_because: str = ""
) -> Verdict:
    """Asks the policy about a trial's newest evaluation and applies its verdict to the state."""
    value = trial.value
    assert value is not None, "a slice ends with an evaluation"
    if stopped_because or trial.epochs >= rungs[trial.rung - 1].epochs:
        trial.results[trial.rung] = value
    verdict = policy.judge(trial, state, stopped_because)
    trial.eliminated = verdict.eliminated
    if verdict.spared:
        trial.spared[trial.rung] = verdict.spared
    if verdict.action == "climb":
        trial.rung += 1
    elif verdict.action != "go_on":
        trial.status = {"pause": PAUSED, "prune": PRUNED, "complete": COMPLETED}[verdict.action]
    return verdict


def climb(trial: TrialState) -> None:
    """Applies a `Climb` to the state."""
    trial.rung += 1
    trial.status = RUNNING


def unfinished(state: StudyState, busy: Collection[int]) -> TrialState | None:
    """The first trial that is between two rungs and not in training."""
    for trial in state.with_status(RUNNING, PAUSED):
        if trial.origin is None and trial.number not in busy and trial.rung not in trial.results:
            return trial
    return None
