"""The contract of a policy, and the one place where a metric becomes a decision.

A policy is asked two things: what a free slot does next, and what becomes of a trial after a slice. To add one: a file
with a `PolicyKind`, and a line in `table.py`.
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
    """Train this trial on to the end of `until_epoch`, the next at which a decision can be taken."""

    number: int
    until_epoch: int


@dataclass(frozen=True)
class Climb:
    """Resume this paused trial on its next rung; `reason` says why it may."""

    number: int
    reason: str


Step = Continue | Climb | Ask


@dataclass(frozen=True)
class Verdict:
    """What becomes of a trial after an evaluation, and why.

    `go_on` keeps it running on its rung (its reason is empty), `climb` on the next; `pause` lets it rest until the
    policy resumes it; `prune` and `complete` end it. `eliminated`: it missed the user's threshold, so it is never
    promoted. `spared`: it continues although its rank would not let it, chosen at random.
    """

    action: Literal["go_on", "climb", "pause", "prune", "complete"]
    reason: str = ""
    eliminated: bool = False
    spared: Drawn = ""


class Policy(Protocol):
    """Decides from the state alone, so that a study carried on after a kill decides as an undisturbed one does.

    What a policy keeps between two questions is derived from the states that it was shown, and nothing else.
    """

    def next(self, state: StudyState, busy: Collection[int]) -> Step | None:
        """The next step for a free slot, None where there is none; `busy` are the trials that slots train now."""
        ...

    def judge(self, trial: TrialState, state: StudyState, stopped_because: str = "") -> Verdict:
        """After a slice: what becomes of its trial. `stopped_because` says why the run itself ended early."""
        ...


@dataclass(frozen=True)
class Setting:
    """What a policy is made from. `options` are its own, complete; `threshold` is `--early-stop-threshold`."""

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
    """What the usual value of an option may depend on."""

    metric: Metric
    epochs: int
    threshold: float | None


def _as_they_are(options: Options, _given: Options, _circumstances: Circumstances) -> Options:
    return options


@dataclass(frozen=True)
class PolicyKind:
    """One way to decide, as `--pruner` names it: what it does in one sentence, its options with their usual values.

    `complete` gets all options, those that the user gave and the circumstances; it returns what the study uses, or
    raises `ValueError` with what is wrong. `on_ladder`: it works on two or more rungs; `needs_ladder`: one is derived
    from the budget where the user wrote none. `draws`: what it draws trials for, at random. `needs_curves`: its
    decisions depend on real learning curves, so that a price can only say what the study costs at most.
    """

    summary: str
    make: Callable[[Setting], Policy]
    options: Options = field(default_factory=dict)
    complete: Callable[[Options, Options, Circumstances], Options] = _as_they_are
    on_ladder: bool = False
    needs_ladder: bool = False
    draws: frozenset[Drawn] = frozenset()
    needs_curves: bool = False


def decide(
    policy: Policy, trial: TrialState, state: StudyState, rungs: Sequence[Rung], stopped_because: str = ""
) -> Verdict:
    """Asks the policy about a trial's newest evaluation and carries its verdict out on the state."""
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
    """Carries a `Climb` out on the state."""
    trial.rung += 1
    trial.status = RUNNING


def unfinished(state: StudyState, busy: Collection[int]) -> TrialState | None:
    """The first trial that is between two rungs and that no slot trains."""
    for trial in state.with_status(RUNNING, PAUSED):
        if trial.origin is None and trial.number not in busy and trial.rung not in trial.results:
            return trial
    return None
