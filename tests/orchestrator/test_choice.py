"""Who wins among the promoted, and how sure that is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_ind

from orchestrator.results.choice import choice_words, choose, mean_of, noise_of
from reports.record import Choice, Estimate
from trainer.api import LOSS, Metric

BLEU = Metric("bleu", "BLEU", "maximize", 100.0)


def test_the_best_mean_wins_in_the_metrics_direction() -> None:
    runs = {3: [10.0, 12.0], 5: [11.0, 11.5], 9: [2.0]}
    most, least = choose(runs, BLEU), choose(runs, LOSS)
    assert most is not None
    assert least is not None
    assert (most.trial_id, most.runner_up, most.seeds) == (5, 3, 2)
    assert (least.trial_id, least.runner_up, least.seeds) == (9, 3, 1)
    assert choose({}, BLEU) is None


def test_the_lead_has_the_interval_of_students_test() -> None:
    chance = np.random.default_rng(1)
    one, other = chance.normal(3.0, 1.0, 6), chance.normal(0.0, 1.0, 4)
    found = choose({1: one.tolist(), 2: other.tolist()}, BLEU)
    assert found is not None
    assert found.lead is not None
    expected = ttest_ind(one, other).confidence_interval(0.95)
    assert (found.lead.low, found.lead.high) == pytest.approx((expected.low, expected.high))
    assert found.tie is False


def test_noise_is_pooled_over_trials() -> None:
    runs = {1: [1.0, 3.0], 2: [10.0, 10.0, 13.0], 3: [7.0]}
    noise, degrees = noise_of(runs)
    assert degrees == 3
    assert noise == pytest.approx(math.sqrt((2.0 + 6.0) / 3))
    assert noise_of({1: [1.0], 2: [2.0]}) == (None, 0)
    assert mean_of([4.0], noise, degrees).high == pytest.approx(4.0 + 3.182 * math.sqrt(8 / 3), rel=1e-3)


@pytest.mark.parametrize(("runs", "words"), [
    ({4: [50.0, 50.2], 2: [40.0, 40.2]}, "trial 4: BLEU 50.1 (95 %: 49.67 to 50.53, 2 seeds), 10 ahead of trial 2 "
     "(95 %: 9.39 to 10.6)"),
    ({4: [50.0, 40.0], 2: [42.0, 44.0]}, "a tie, either may be the better one"),
    ({4: [50.0], 2: [42.0]}, "8 ahead of trial 2; with one seed each this may be chance"),
    ({4: [50.0]}, "trial 4: BLEU 50 (1 seed)"),
])  # fmt: skip
def test_the_words_for_a_winner_a_tie_and_a_guess(runs: dict[int, list[float]], words: str) -> None:
    choice = choose(runs, BLEU)
    assert choice is not None
    assert words in choice_words(choice, "BLEU")


def test_a_lead_without_an_interval_is_no_tie() -> None:
    assert choose({1: [2.0], 2: [1.0]}, BLEU) == Choice(1, Estimate(2.0), 1, 2, Estimate(1.0))
