"""The contract of a policy, and the one place where a metric becomes a decision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from orchestrator.policies.reasons import early_words, eliminated, rung_words
from orchestrator.study.ladder import Rung
from orchestrator.study.lots import Spared
from orchestrator.study.state import COMPLETED, PAUSED, PRUNED, RUNNING, StudyState, TrialState
from trainer.api import Metric


@dataclass(frozen=True)
class Continue:
    """Train this trial on to the end of `until_epoch`, the next at which a decision can be taken."""

    number: int
    until_epoch: int


@dataclass(frozen=True)
class Climb:
    """Take this paused trial up to its next rung; `reason` says why it may."""

    number: int
    reason: str


@dataclass(frozen=True)
class Ask:
    """Open a new trial: for the place `index` in the plan's list, or one that the sampler chooses (None)."""

    index: int | None


Step = Continue | Climb | Ask


@dataclass(frozen=True)
class Verdict:
    """What becomes of a trial after an evaluation, and why.

    `go_on` keeps it running on its rung (its reason is empty), `climb` on the next; `pause` lets it rest until the
    policy takes it up again; `prune` and `complete` end it. `eliminated`: by the user's threshold, so that it is
    never promoted. `spared`: it goes on although its rank would not let it, by a draw.
    """

    action: Literal["go_on", "climb", "pause", "prune", "complete"]
    reason: str = ""
    eliminated: bool = False
    spared: Spared = ""


class Policy(Protocol):
    """Pure: what it says follows from the state alone, so that a study carried on decides as one undisturbed."""

    def next(self, state: StudyState, busy: Collection[int]) -> Step | None:
        """The next step for a free slot; `busy` are the trials that slots are training now."""
        ...

    def judge(self, trial: TrialState, state: StudyState, stopped_because: str = "") -> Verdict:
        """After a slice: what becomes of its trial. `stopped_because` says why the run itself ended early."""
        ...

    def learn(self, trial: TrialState, epoch: int, value: float) -> None:
        """An evaluation was recorded."""
        ...

    def recall(self, trial: TrialState) -> None:
        """In a call that carries on: an evaluation of an earlier call was learnt, and its judgement is known."""
        ...

    def closed(self, trial: TrialState) -> None:
        """A trial reached its final status."""
        ...


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
    if trial.is_final:
        policy.closed(trial)
    return verdict


def climb(trial: TrialState) -> None:
    """Carries a `Climb` out on the state."""
    trial.rung += 1
    trial.status = RUNNING


@dataclass(frozen=True)
class Supply:
    """Where new trials come from: the places of the list in order, then the sampler; `n_trials` in the whole study."""

    listed: int
    n_trials: int
    sampled: bool = False

    def next(self, state: StudyState) -> Ask | None:
        if state.opened() >= self.n_trials:
            return None
        asked = state.asked() if self.listed else set()
        for index in range(min(self.listed, self.n_trials)):
            if index not in asked:
                return Ask(index)
        return Ask(None) if self.sampled and not state.exhausted else None


def unfinished(state: StudyState, busy: Collection[int]) -> TrialState | None:
    """The first trial that stands between two rungs and that no slot trains."""
    for trial in state.with_status(RUNNING, PAUSED):
        if trial.origin is None and trial.number not in busy and trial.rung not in trial.results:
            return trial
    return None


def at_top(
    metric: Metric, rungs: Sequence[Rung], trial: TrialState, threshold: float | None, stopped_because: str
) -> Verdict:
    """The end of a trial that has its result on the last rung: complete, or under the user's threshold."""
    value, where = trial.results[trial.rung], rung_words(rungs, trial.rung)
    below = eliminated(metric, value, threshold)
    if below:
        return Verdict("prune", f"at {where}: {below}", eliminated=True)
    return Verdict("complete", f"at {where}: {metric.label} {value:.4g}{early_words(trial, stopped_because)}")
