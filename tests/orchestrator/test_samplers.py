"""The contract of every sampler, and what each is shown of a study."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from orchestrator_parts import evaluated
from scipy.stats import qmc

from orchestrator.planning.settings import sampler_settings
from orchestrator.samplers.fixed_orders import grid_size, grid_values, value_at
from orchestrator.samplers.sampler import Sampler
from orchestrator.samplers.shadow import ShadowStudy
from orchestrator.samplers.table import SAMPLERS, make_sampler, sampler_kind
from orchestrator.study.space import Dimension, Space, as_json, choices_of, optuna_value
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING, SAMPLED, TrialState
from trainer.api import LOSS, ConfigError, Metric

pytestmark = pytest.mark.core

KIND, RATE, DEPTH, SHARE, PAIR, EXTRA = "kind", "rate", "depth", "share", "pair", "extra"
SPACE: Space = (
    Dimension(KIND, {"type": "categorical", "choices": ["a", "b"]}),
    Dimension(DEPTH, {"type": "int", "low": 1, "high": 64, "log": True}, {KIND: ("a",)}),
    Dimension(RATE, {"type": "float", "low": 1e-4, "high": 1.0, "log": True}),
    Dimension(SHARE, {"type": "float", "low": 0.0, "high": 0.9, "log": False, "step": 0.3}),
    Dimension(PAIR, {"type": "json", "choices": ["null", "[0.9, 0.99]"]}),
    Dimension(EXTRA, {"type": "float", "low": 0.0, "high": 1.0, "log": False}, {KIND: ("b",), PAIR: (None,)}),
)
POINTS: Space = (
    Dimension(KIND, {"type": "categorical", "choices": ["a", "b"]}),
    Dimension(DEPTH, {"type": "int", "low": 1, "high": 5, "log": False, "step": 2}, {KIND: ("a",)}),
    Dimension(SHARE, {"type": "float", "low": 0.0, "high": 0.5, "log": False, "step": 0.25}),
)
BLEU = Metric("bleu", "BLEU", "maximize", 100.0)
SETTINGS = {"tpe": {"n_startup_trials": 4}, "gp": {"n_startup_trials": 4}}


def space_for(name: str) -> Space:
    return POINTS if name == "grid" else SPACE


def sampler(name: str, seed: int = 0, space: Space | None = None, maximize: bool = True) -> Sampler:
    settings = sampler_settings({"name": name, **SETTINGS.get(name, {})})
    return make_sampler(settings, space or space_for(name), seed, BLEU if maximize else LOSS, dict)


def worth(overrides: Mapping[str, Any]) -> float:
    return random.Random(as_json(dict(overrides))).random()


def add(state: StudyState, overrides: Mapping[str, Any], status: str = COMPLETED, rungs: int = 1) -> TrialState:
    """A trial that the sampler chose, with results on so many rungs of one epoch each."""
    trial = TrialState(len(state.trials), SAMPLED, dict(overrides), status=status, rung=max(rungs, 1))
    advance(trial, rungs, status)
    state.trials[trial.number] = trial
    return trial


def advance(trial: TrialState, rungs: int, status: str) -> None:
    trial.status, trial.rung = status, max(rungs, 1)
    for rung in range(trial.reached + 1, rungs + 1):
        trial.results[rung] = worth(trial.overrides) + rung
        evaluated(trial, {rung: trial.results[rung]})


def studied(name: str, count: int, seed: int = 0) -> tuple[StudyState, list[Mapping[str, Any]]]:
    """A study of so many trials that rest, run, fail and go on as time goes by, and what was proposed."""
    state, asked, one = StudyState(), [], sampler(name, seed)
    for number in range(count):
        found = one.propose(number, state)
        assert found is not None
        asked.append(found)
        if number % 3 == 2:  # one that rests goes on
            advance(state.trials[number - 1], 2, COMPLETED)
        add(state, found, (COMPLETED, PAUSED, FAILED, RUNNING, PRUNED)[number % 5], 0 if number % 5 == 3 else 1)
    return state, asked


ALL = pytest.mark.parametrize("name", SAMPLERS)


def test_the_samplers_by_name() -> None:
    assert {"random", "tpe", "gp", "qmc", "grid"} <= set(SAMPLERS)
    for name in SAMPLERS:
        assert (
            sampler_settings(name) == sampler_settings({"name": name}) == {"name": name, **sampler_kind(name).options}
        )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("tpee", "unknown sampler 'tpee'; known are random, tpe, gp, qmc, grid"),
        (3, "unknown sampler 3"),
        ({}, "unknown sampler"),
        ({"name": "tpe", "n_start": 3}, "takes no option 'n_start'; it takes n_startup_trials, multivariate"),
        ({"name": "tpe", "n_startup_trials": 2.5}, "n_startup_trials must be a whole number, not 2.5"),
        ({"name": "tpe", "multivariate": 1}, "multivariate must be true or false, not 1"),
        ({"name": "random", "seed": 1}, "takes no option 'seed'; it takes none"),
    ],
)
def test_mistakes_in_a_sampler(said: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sampler_settings(said)
    assert words in str(caught.value)


# the contract


@ALL
def test_proposals_lie_inside_the_space_and_leave_out_what_is_inactive(name: str) -> None:
    space = space_for(name)
    for found in studied(name, 6 if name == "gp" else 12)[1]:
        assert list(found) == [dimension.key for dimension in space if dimension.active(found)]
        for dimension in space:
            if dimension.key in found:
                assert optuna_value(dimension.shape, found[dimension.key])[0], (dimension.key, found)
        assert isinstance(found.get(DEPTH, 1), int)
        assert json.loads(as_json(found)) == found, "plain data"


@ALL
def test_both_branches_of_a_condition_are_tried(name: str) -> None:
    assert {found[KIND] for found in studied(name, 6)[1]} == {"a", "b"}


@ALL
def test_a_proposal_follows_from_seed_number_and_state(name: str) -> None:
    state, _ = studied(name, 5)
    known = copy.deepcopy(state)
    found = sampler(name).propose(5, state)
    assert found == sampler(name).propose(5, copy.deepcopy(state))
    assert state == known, "a sampler changes nothing"
    others = [sampler(name, seed).propose(5, state) for seed in range(1, 4)]
    assert any(other != found for other in others)


@ALL
def test_a_proposal_does_not_hang_on_how_the_state_came_about(name: str) -> None:
    """One sampler saw every step, another one is asked after a restart."""
    count = 6 if name == "gp" else 11
    state, asked = studied(name, count)
    one, again = sampler(name), StudyState()
    for number, expected in enumerate(asked):
        if number in (4, 10):
            assert sampler(name).propose(number, copy.deepcopy(again)) == expected
        if number % 3 == 2:
            advance(again.trials[number - 1], 2, COMPLETED)
        add(again, expected, (COMPLETED, PAUSED, FAILED, RUNNING, PRUNED)[number % 5], 0 if number % 5 == 3 else 1)
        if number in (1, 5):
            one.propose(number + 1, again)  # asked out of turn, or more often
    assert again == state
    assert one.propose(count, again) == sampler(name).propose(count, state)


@pytest.mark.parametrize("name", ["random", "tpe", "gp"])
def test_numbers_have_draws_of_their_own(name: str) -> None:
    empty = StudyState()
    draws = [as_json(sampler(name).propose(number, empty)) for number in range(6)]
    assert len(set(draws)) == 6


@ALL
def test_trials_outside_the_space_are_borne(name: str) -> None:
    state = StudyState()
    for overrides in ({}, {RATE: 7.0, KIND: "c"}, {"other": 3}, {PAIR: [1]}, {SHARE: 0.1}):
        add(state, overrides).index = 0
    assert sampler(name).propose(5, state)


@pytest.mark.parametrize("name", ["tpe", "gp"])
@pytest.mark.parametrize("maximize", [True, False])
def test_what_is_good_is_tried_more_often(name: str, maximize: bool) -> None:
    space: Space = (Dimension(RATE, {"type": "float", "low": 0.0, "high": 1.0, "log": False}),)
    state = StudyState()
    for number in range(20):
        value = number / 19
        trial = add(state, {RATE: value}, PAUSED if number % 2 else COMPLETED)
        trial.results[1] = value
        evaluated(trial, {1: value})
    draws = [sampler(name, seed, space, maximize).propose(20, state)[RATE] for seed in range(5)]  # type: ignore[index]
    assert np.mean(draws) > 0.6 if maximize else np.mean(draws) < 0.4


# grid


def test_a_grid_visits_every_point_once_and_ends() -> None:
    """kind a: 3 depths × 3 shares; kind b: 3 shares."""
    state, asked = studied("grid", 12)
    assert len({as_json(found) for found in asked}) == 12
    assert sum(found[KIND] == "b" for found in asked) == 3
    assert sampler("grid").propose(12, state) is None
    assert grid_size(POINTS) == 18


def test_grids_of_two_seeds_are_two_orders_of_the_same_points() -> None:
    one, other = studied("grid", 12)[1], studied("grid", 12, seed=1)[1]
    assert one != other
    assert sorted(map(as_json, one)) == sorted(map(as_json, other))


@pytest.mark.parametrize("name", ["grid", "qmc"])
def test_an_order_of_ours_goes_by_what_was_drawn(name: str) -> None:
    """Listed trials and second tries take no place in it."""
    plain = studied(name, 3)[1]
    state, one = StudyState(), sampler(name)
    add(state, {KIND: "a"}).index = 0
    for number, expected in enumerate(plain):
        found = one.propose(2 * number + 1, state)
        assert found == expected
        add(state, found or {}, FAILED)
        add(state, found or {}).retry_of = len(state.trials) - 1


# quasi-random


def test_a_quasi_random_sequence_covers_evenly() -> None:
    """Of 16 points each sixteenth of a range holds one; chance leaves gaps."""
    space = tuple(Dimension(f"x{n}", {"type": "float", "low": 0.0, "high": 1.0, "log": False}) for n in range(3))

    def drawn(name: str) -> Any:
        state, one = StudyState(), sampler(name, 3, space)
        for number in range(16):
            add(state, one.propose(number, state) or {})
        return np.array([[trial.overrides[f"x{n}"] for n in range(3)] for trial in state.in_order()])

    even, chance = drawn("qmc"), drawn("random")
    for column in even.T:
        assert sorted((column * 16).astype(int)) == list(range(16))
    assert any(sorted((column * 16).astype(int)) != list(range(16)) for column in chance.T)
    assert qmc.discrepancy(even) < qmc.discrepancy(chance)


@given(st.floats(0, 1, exclude_max=True), st.sampled_from([*SPACE, *POINTS]))
def test_every_share_has_a_value_inside(share: float, dimension: Dimension) -> None:
    assert optuna_value(dimension.shape, value_at(dimension, share))[0]


@pytest.mark.parametrize("dimension", [*POINTS, SPACE[1], SPACE[4]], ids=lambda d: f"{d.key} {d.shape['type']}")
def test_all_values_of_a_dimension_have_their_share(dimension: Dimension) -> None:
    found = [value_at(dimension, share) for share in np.linspace(0, 1, 2000, endpoint=False)]
    expected = choices_of(dimension.shape) if "choices" in dimension.shape else grid_values(dimension)
    assert [value for n, value in enumerate(found) if n == 0 or value != found[n - 1]] == expected
    if not dimension.shape.get("log"):
        counts = [found.count(value) for value in expected]
        assert max(counts) - min(counts) <= 1


# what a sampler is shown


def shadow_of(as_completed: bool, maximize: bool = True, enough: int = 2) -> ShadowStudy:
    return ShadowStudy(SPACE, BLEU if maximize else LOSS, dict, as_completed, enough)


def shown(shadow: ShadowStudy, state: StudyState) -> list[FrozenTrial]:
    shadow.show(state)
    return shadow.study.get_trials(deepcopy=False)


def mixed() -> StudyState:
    state = StudyState()
    add(state, {RATE: 0.1}, COMPLETED, 3)
    add(state, {RATE: 0.2}, PAUSED, 1)
    add(state, {RATE: 0.3}, PAUSED, 2)
    add(state, {RATE: 0.4}, FAILED, 1)
    add(state, {RATE: 0.5}, RUNNING, 0)
    add(state, {RATE: 0.6}, RUNNING, 1).rung = 2
    add(state, {RATE: 0.7}, PRUNED, 1)
    add(state, {RATE: 0.8}, FAILED, 0)
    return state


def test_to_tpe_a_resting_trial_is_pruned_at_its_last_step() -> None:
    state = mixed()
    found = shown(shadow_of(as_completed=False), state)
    assert [trial.state for trial in found] == [
        OptunaState.COMPLETE, OptunaState.PRUNED, OptunaState.PRUNED, OptunaState.PRUNED, OptunaState.RUNNING,
        OptunaState.RUNNING, OptunaState.PRUNED, OptunaState.PRUNED,
    ]  # fmt: skip
    assert found[0].value == state.trials[0].value
    assert [trial.last_step for trial in found] == [3, 1, 2, None, None, 1, 1, None]
    assert found[2].intermediate_values == state.trials[2].values
    assert [trial.params for trial in found] == [dict(trial.overrides) for trial in state.in_order()]


@pytest.mark.parametrize("maximize", [True, False])
def test_to_gp_everything_is_completed_at_one_rung_and_failed_is_the_worst(maximize: bool) -> None:
    state = mixed()
    found = shown(shadow_of(as_completed=True, maximize=maximize), state)
    results = {trial.number: trial.results.get(2) for trial in state.in_order()}
    worst = (min if maximize else max)(value for t in state.in_order() for value in t.values.values())
    expected = {0: results[0], 2: results[2], 3: worst, 7: worst}
    assert {t.number: t.value for t in found if t.state == OptunaState.COMPLETE} == expected
    assert [t.number for t in found if t.state == OptunaState.RUNNING] == [4, 5]
    assert [t.number for t in found if t.state == OptunaState.PRUNED] == [1, 6], "not there: nothing to learn from"


def test_to_gp_the_common_rung_is_the_highest_with_enough_results() -> None:
    def values(enough: int) -> list[float | None]:
        return [trial.value for trial in shown(shadow_of(True, enough=enough), state)][:3]

    state = mixed()
    results = [state.trials[number].results for number in range(3)]
    assert values(1) == [results[0][3], None, None]
    assert values(2) == [results[0][2], None, results[2][2]]
    assert values(3) == values(99) == [results[0][1], results[1][1], results[2][1]]


def test_to_gp_a_pruned_trials_last_evaluation_counts_on_a_single_rung() -> None:
    state = StudyState()
    pruned = add(state, {RATE: 0.1}, PRUNED, 0)
    evaluated(pruned, {1: 0.25})
    assert [(t.state, t.value) for t in shown(shadow_of(True), state)] == [(OptunaState.COMPLETE, 0.25)]


@pytest.mark.parametrize("as_completed", [True, False])
def test_what_rested_goes_on_and_completes(as_completed: bool) -> None:
    """The way that none of Optuna's storages allows."""
    state, shadow = StudyState(), shadow_of(as_completed, enough=1)
    trial = add(state, {RATE: 0.1}, RUNNING, 0)
    seen = []
    for rungs, status in ((0, RUNNING), (1, PAUSED), (1, RUNNING), (2, PAUSED), (2, RUNNING), (3, COMPLETED)):
        advance(trial, rungs, status)
        seen.append(shown(shadow, state)[0].state)
    rests = OptunaState.COMPLETE if as_completed else OptunaState.PRUNED
    on = OptunaState.COMPLETE if as_completed else OptunaState.RUNNING
    assert seen == [OptunaState.RUNNING, rests, on, rests, on, OptunaState.COMPLETE]
    assert shown(shadow, state)[0].value == trial.results[3]


@pytest.mark.parametrize("as_completed", [True, False])
def test_a_shadow_kept_up_to_date_is_one_made_afresh(as_completed: bool) -> None:
    chance = random.Random(5)
    state, shadow = StudyState(), shadow_of(as_completed)
    for _ in range(60):
        if not state.trials or chance.random() < 0.3:
            add(state, {RATE: chance.random(), KIND: "b"}, RUNNING, 0)
        else:
            trial = state.trials[chance.randrange(len(state.trials))]
            if not trial.is_final:
                advance(trial, min(trial.reached + 1, 3), chance.choice([RUNNING, PAUSED, COMPLETED, PRUNED, FAILED]))
        plain = [(t.state, t.value, t.params, t.intermediate_values) for t in shown(shadow, state)]
        afresh = [(t.state, t.value, t.params, t.intermediate_values) for t in shown(shadow_of(as_completed), state)]
        assert plain == afresh


def test_values_outside_the_space_are_not_shown() -> None:
    state = StudyState()
    add(state, {RATE: 7.0, KIND: "c", DEPTH: 2, SHARE: 0.1, PAIR: [0.9, 0.99], "other": 1})
    assert shown(shadow_of(False), state)[0].params == {DEPTH: 2, PAIR: "[0.9, 0.99]"}


def test_a_shadow_refuses_to_be_told() -> None:
    shadow = shadow_of(False)
    asked = shadow.study.ask()
    for refused in (lambda: shadow.study.tell(asked, 1.0), lambda: asked.report(1.0, 1)):
        with pytest.raises(NotImplementedError, match="a sampler asks; it tells nothing"):
            refused()
    assert isinstance(shadow.study, optuna.Study)
