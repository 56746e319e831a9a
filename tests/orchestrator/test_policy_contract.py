"""What every policy promises, over the table of policies: a new line there is greeted here."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.planning.price import price_of
from orchestrator.planning.settings import pruner_settings
from orchestrator.policies.policy import Climb, Continue, Policy, Setting, climb, decide
from orchestrator.policies.simulate import simulate
from orchestrator.policies.supply import Ask, Supply
from orchestrator.policies.table import POLICIES, policy_kind
from orchestrator.study.draws import Draws
from orchestrator.study.ladder import Rung
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState
from orchestrator.study.trial import FINAL, PAUSED, RUNNING, Evaluated, TrialState
from trainer.api import LOSS, Metric

BLEU = Metric("bleu", "BLEU", "maximize", 100.0)
THRESHOLD = 30.0  # of the pruner that needs a bound
LADDER = (Rung(1, 10, 32, 20), Rung(2, 20, 32, 20), Rung(4, None, 32, 20))
TRIALS = 9

all_policies = pytest.mark.parametrize("name", POLICIES)
studies = st.tuples(st.integers(0, 10_000), st.sampled_from([BLEU, LOSS]), st.booleans())
few = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def setting(name: str, metric: Metric, seed: int, audited: bool) -> Setting:
    rungs = LADDER if policy_kind(name).on_ladder else LADDER[-1:]
    options = pruner_settings(name, THRESHOLD, metric, rungs[-1].epochs)
    draws = Draws(0.2, 0.2, seed) if audited else Draws()
    return Setting(metric, rungs, Supply(0, TRIALS, sampled=True), options, draws=draws)


def curve(seed: int) -> Callable[[TrialState, int], float]:
    return lambda trial, epoch: float(random.Random(f"{seed} {trial.number} {epoch}").randrange(60))


def propose(number: int, _state: StudyState) -> Mapping[str, Any]:
    return {"x": number}


def story(state: StudyState) -> list[Any]:
    return [(t.number, t.status, t.rung, t.values, t.results, t.spared) for t in state.in_order()]


@all_policies
@few
@given(studies)
def test_a_study_comes_to_its_end_and_trains_no_epoch_twice(name: str, study: tuple[int, Metric, bool]) -> None:
    seed, metric, audited = study
    wanted = setting(name, metric, seed, audited)
    state = StudyState()
    policy = policy_kind(name).make(wanted)
    epochs = sum(1 for _ in simulate(policy, wanted.rungs, propose, curve(seed), state))
    assert len(state.trials) == TRIALS
    assert epochs == sum(trial.epochs for trial in state.in_order())
    for trial in state.in_order():
        assert list(trial.evaluations) == list(range(1, trial.epochs + 1))
        assert trial.status in FINAL or (trial.status == PAUSED and trial.rung in trial.results)
        ends = [wanted.rungs[rung - 1].epochs for rung in range(1, len(trial.results) + 1)]
        assert list(trial.results.values()) == [trial.values[end] for end in ends]
    assert policy.next(state, ()) is None, "nothing is left to do"


@all_policies
@few
@given(studies, st.integers(1, 30))
def test_a_policy_made_anew_decides_as_one_that_saw_it_all(
    name: str, study: tuple[int, Metric, bool], killed_after: int
) -> None:
    seed, metric, audited = study
    wanted = setting(name, metric, seed, audited)
    whole = StudyState()
    for _ in simulate(policy_kind(name).make(wanted), wanted.rungs, propose, curve(seed), whole):
        pass
    state = StudyState()
    for epoch, _ in enumerate(simulate(policy_kind(name).make(wanted), wanted.rungs, propose, curve(seed), state), 1):
        if epoch == killed_after:
            break
    for _ in simulate(policy_kind(name).make(wanted), wanted.rungs, propose, curve(seed), state):
        pass
    assert story(state) == story(whole)


@all_policies
@few
@given(studies, st.integers(2, 4))
def test_no_two_slots_get_the_same_trial(name: str, study: tuple[int, Metric, bool], slots: int) -> None:
    seed, metric, audited = study
    wanted = setting(name, metric, seed, audited)
    policy, state, busy = policy_kind(name).make(wanted), StudyState(), dict[int, int]()
    chance = random.Random(seed)
    while True:
        _fill(policy, state, busy, slots)
        if not busy:
            break
        trial = state.trials[chance.choice(sorted(busy))]
        value = curve(seed)(trial, trial.epochs + 1)
        trial.add(Evaluated(trial.epochs + 1, value, value))
        if trial.epochs == busy[trial.number]:
            del busy[trial.number]
            decide(policy, trial, state, wanted.rungs)
    assert len(state.trials) == TRIALS
    assert not state.with_status(RUNNING)


def _fill(policy: Policy, state: StudyState, busy: dict[int, int], slots: int) -> None:
    while len(busy) < slots and (step := policy.next(state, set(busy))) is not None:
        if isinstance(step, Ask):
            state.trials[len(state.trials)] = TrialState(len(state.trials), -1, {"x": len(state.trials)})
        elif isinstance(step, Climb):
            assert state.trials[step.number].status == PAUSED
            assert step.reason
            climb(state.trials[step.number])
        else:
            assert isinstance(step, Continue)
            assert step.number not in busy
            assert state.trials[step.number].epochs < step.until_epoch
            busy[step.number] = step.until_epoch


@all_policies
def test_a_plan_has_a_price_whatever_its_policy(planned: Callable[..., Plan], name: str) -> None:
    wanted = setting(name, BLEU, 0, audited=False)
    plan = replace(planned([0.1 * (n + 1) for n in range(TRIALS)]), rungs=tuple(wanted.rungs), pruner=wanted.options)
    price = price_of(plan, {})
    assert 0 < price.usual_epochs <= price.most_epochs == TRIALS * wanted.rungs[-1].epochs
    assert all(first.usual >= second.usual for first, second in pairwise(price.rungs))


@all_policies
def test_a_kind_says_what_it_does_and_takes_its_own_options(name: str) -> None:
    kind = policy_kind(name)
    assert kind.summary
    assert set(pruner_settings(name, THRESHOLD, BLEU, 4)) == {"name", *kind.options}
