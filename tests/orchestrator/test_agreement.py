"""The statistics of trust, against scipy and against populations whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from orchestrator.results.rank_agreement import compare

pytestmark = pytest.mark.core


def by_number(values: object) -> dict[int, float]:
    return dict(enumerate(map(float, np.asarray(values))))


@pytest.mark.filterwarnings("ignore:An input array is constant")
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=40))
@settings(max_examples=60, deadline=None)
def test_where_all_went_on_the_figures_are_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = zip(*pairs, strict=True)
    found = compare(by_number(x), by_number(y), samples=20)
    assert found is not None
    assert (found.method, found.seen, found.compared, found.anchors) == ("all", len(pairs), len(pairs), 0)
    for mine, theirs in ((found.tau, kendalltau(x, y)), (found.rho, spearmanr(x, y))):
        if math.isnan(theirs.statistic):
            assert mine.value is None
        else:
            assert mine.value == pytest.approx(theirs.statistic, abs=1e-12)
    assert found.naive.value == found.tau.value


def test_the_interval_of_a_perfect_order_is_a_point_and_two_trials_say_nothing() -> None:
    line = by_number(range(20))
    same = compare(line, line)
    assert same is not None
    assert (same.tau.value, same.tau.low, same.tau.high) == pytest.approx((1.0, 1.0, 1.0))
    back = compare(line, {n: -value for n, value in line.items()})
    assert back is not None
    assert back.tau.value == -1.0
    assert back.poor
    assert compare(by_number(range(2)), by_number(range(2))) is None
    few = compare(by_number(range(4)), by_number(range(4)))
    assert few is not None
    assert (few.tau.value, few.tau.low, few.rho.low, few.naive.low) == (1.0, None, None, None), "1 in 24 by chance"
    assert not few.poor
    flat = compare(line, dict.fromkeys(line, 1.0))
    assert flat is not None
    assert flat.tau.value is None
    assert not flat.poor


def test_weights_speak_for_those_that_did_not_go_on() -> None:
    """Each trial by lot stands for two of its kind: the figure is that of the list in which it stands twice."""
    x, y = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 1.0, 3.5, 3.0, 6.0, 5.0]
    lots = {0: 0.5, 2: 0.5}
    found = compare({**by_number(x), 10: 0.5}, by_number(y), lots, samples=20)
    assert found is not None
    assert (found.method, found.anchors, found.seen) == ("anchors", 2, 7)
    doubled = [0, 0, 1, 2, 2, 3, 4, 5]
    expected = kendalltau([x[n] for n in doubled], [y[n] for n in doubled]).statistic
    assert found.tau.value == pytest.approx(expected)
    assert found.naive.value == pytest.approx(kendalltau(x, y).statistic)
    expected = spearmanr([x[n] for n in doubled], [y[n] for n in doubled]).statistic
    assert found.rho.value == pytest.approx(expected)


def test_the_best_in_common_and_what_choosing_by_the_lower_costs() -> None:
    lower = dict(enumerate([9.0, 8.0, 7.0, 3.0, 2.0, 1.0]))
    upper = dict(enumerate([5.0, 9.0, 4.0, 8.0, 2.0, 1.0]))
    found = compare(lower, upper, samples=20)
    assert found is not None
    assert (found.top, found.overlap, found.regret) == (2, 0.5, 4.0)


def drawn(chance: np.random.Generator, rho: float, trials: int) -> tuple[np.ndarray, np.ndarray]:
    x = chance.normal(size=trials)
    return x, rho * x + math.sqrt(1 - rho**2) * chance.normal(size=trials)


@pytest.mark.parametrize("rho", [0.3, 0.8])
def test_lots_take_the_bias_away_and_the_interval_holds_the_truth(rho: float) -> None:
    """The best third goes on, and one in five of the others by lot: 100 studies of 54 trials. For a normal pair
    τ = 2/π·asin(ρ). Of 100 intervals of 95 %, between 89 and 100 hold the truth with a chance of 99 %."""
    truth = 2 / math.pi * math.asin(rho)
    naive, corrected, held = [], [], 0
    for study in range(100):
        chance = np.random.default_rng([study, int(rho * 10)])
        x, y = drawn(chance, rho, 54)
        best = set(np.argsort(-x)[:18].tolist())
        lots = {n: 0.2 for n in range(54) if n not in best and chance.random() < 0.2}
        found = compare(by_number(x), {n: float(y[n]) for n in best | lots.keys()}, lots, samples=200)
        assert found is not None
        assert found.tau.value is not None
        assert found.tau.low is not None
        assert found.tau.high is not None
        naive.append((found.naive.value or 0.0) - truth)
        corrected.append(found.tau.value - truth)
        held += found.tau.low <= truth <= found.tau.high
    assert abs(np.mean(corrected)) < 0.04
    assert rho < 0.5 or np.mean(naive) < -0.05
    assert 87 <= held <= 100


def test_without_lots_a_model_takes_most_of_the_bias_away_where_it_holds() -> None:
    truth = 2 / math.pi * math.asin(0.8)
    naive, corrected = [], []
    for study in range(60):
        x, y = drawn(np.random.default_rng(study), 0.8, 54)
        best = np.argsort(-x)[:18].tolist()
        found = compare(by_number(x), {n: float(y[n]) for n in best}, samples=40)
        assert found is not None
        assert found.method == "model"
        assert not found.poor, "never beyond doubt"
        naive.append((found.naive.value or 0.0) - truth)
        corrected.append((found.tau.value or 0.0) - truth)
    assert abs(np.mean(corrected)) < abs(np.mean(naive)) / 2


def test_the_same_study_gives_the_same_figures_and_large_ones_are_thinned() -> None:
    x, y = drawn(np.random.default_rng(0), 0.5, 2000)
    found, again = (compare(by_number(x), by_number(y), samples=50) for _ in range(2))
    assert found == again
    assert found is not None
    assert (found.seen, found.compared) == (2000, 300)
    assert found.method == "all"
