"""A study in one slot, one step after another, without processes, files or clocks: curves instead of trainings.

It drives the policy and sampler objects that `run` uses. The price of a plan comes from it, and so do benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.policies.policy import Climb, Continue, Policy, climb, decide
from orchestrator.policies.supply import Ask
from orchestrator.study.ladder import Rung
from orchestrator.study.state import StudyState
from orchestrator.study.trial import SAMPLED, Evaluated, TrialState

Propose = Callable[[int, StudyState], Mapping[str, Any] | None]
Curve = Callable[[TrialState, int], float]


def simulate(
    policy: Policy, rungs: Sequence[Rung], propose: Propose, curve: Curve, state: StudyState | None = None
) -> Iterator[StudyState]:
    """Runs until nothing is left to do, and yields the state after every epoch trained.

    `propose` gives trial number n its configuration, also for places of a list; None ends asking. `curve` is the
    metric of a trial after an epoch, counted from 1.
    """
    state = state or StudyState()
    while (step := policy.next(state, ())) is not None:
        if isinstance(step, Ask):
            number = len(state.trials)
            overrides = propose(number, state)
            if overrides is None:
                state.exhausted = True
                continue
            state.trials[number] = TrialState(number, SAMPLED if step.index is None else step.index, overrides)
        elif isinstance(step, Climb):
            climb(state.trials[step.number])
        else:
            yield from _train(policy, rungs, curve, state, step)


def _train(
    policy: Policy, rungs: Sequence[Rung], curve: Curve, state: StudyState, step: Continue
) -> Iterator[StudyState]:
    trial = state.trials[step.number]
    for epoch in range(trial.epochs + 1, step.until_epoch + 1):
        value = curve(trial, epoch)
        trial.add(Evaluated(epoch, value, value))
        if epoch < step.until_epoch:
            yield state
    decide(policy, trial, state, rungs)
    yield state
