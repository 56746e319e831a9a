"""Rank agreement: how well the order of trials on one rung predicts their order on a higher one.

Only the best of a rung continue, so the trials with both values are similar, and any rank correlation among them is
too low. Where some trials continued by a draw of known probability (`study/draws.py`), each pair is weighted by one
over the probability that both continued (Horvitz and Thompson, JASA 47, 1952), which removes the bias. Where none did,
the correlation is corrected for the restricted range under a normal model (Thorndike 1949), which removes about half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from reports.record import Estimate, Ranks

Array = NDArray[np.float64]
Values = Mapping[int, float]  # by trial; the larger, the better

SAMPLES = 1000  # of the bootstrap
LEAST = 3  # trials in common; with fewer nothing is estimated
FEW = 5  # trials in common; with fewer, even a perfect order is chance more than once in twenty: no intervals
MOST = 300  # trials in common; of more, so many are drawn at random


def compare(
    lower: Values, upper: Values, chances: Values | None = None, samples: int = SAMPLES, everyone: int | None = None
) -> Ranks | None:
    """The agreement of the orders on two rungs; None where fewer than three trials have values on both.

    `chances` are the probabilities, by trial, of having reached the upper rung; 1 for trials that are not in it.
    `everyone` is the number of trials before any selection, where it is larger than that on the lower rung.
    """
    both = [trial for trial in lower if trial in upper]
    if len(both) < LEAST:
        return None
    generator = np.random.default_rng(0)  # the same study gives the same numbers
    rest = max(len(lower), everyone or 0) - len(both)
    if len(both) > MOST:
        rest = round(rest * MOST / len(both))
        both = sorted(generator.permutation(both)[:MOST].tolist())
    x, y = (np.array([values[trial] for trial in both]) for values in (lower, upper))
    weights = 1.0 / np.array([(chances or {}).get(trial, 1.0) for trial in both])
    anchors = int((weights > 1.0).sum())
    method: Literal["all", "anchors", "model"] = "anchors" if anchors else "all" if rest == 0 else "model"
    pairs = _Pairs(x, y)
    drawn = _resampled(generator, len(both), rest, samples)
    naive = _estimate(pairs.tau(np.ones((1, len(both))))[0], pairs.tau(drawn))
    if method == "model":
        tau, rho = _modelled(lower, both, y, generator, samples // 4)
    else:
        tau = _estimate(pairs.tau(weights[None])[0], pairs.tau(drawn * weights))
        rho = _estimate(pairs.rho(weights[None])[0], pairs.rho(drawn * weights))
    if len(both) < FEW:
        naive, tau, rho = (Estimate(one.value) for one in (naive, tau, rho))
    top = max(1, min(5, len(both) // 3))
    best = [set(np.argsort(-values, kind="stable")[:top].tolist()) for values in (x, y)]
    regret = float(y.max() - y[int(np.argmax(x))])
    overlap = len(best[0] & best[1]) / top
    return Ranks(len(lower), len(both), anchors, method, naive, tau, rho, top, overlap, regret)


class _Pairs:
    """All pairs of trials. `tau` and `rho` take many sets of weights at once: weights are [sets, trials]."""

    def __init__(self, x: Array, y: Array) -> None:
        self.signs = [np.sign(values[:, None] - values[None, :]) for values in (x, y)]

    def tau(self, weights: Array) -> Array:
        """Kendall's τ-b (Biometrika 33, 1945) for each set of weights; NaN where all values are equal."""
        left, right = self.signs
        both, one, other = (_form(weights, matrix) for matrix in (left * right, np.abs(left), np.abs(right)))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(both / np.sqrt(one * other))

    def rho(self, weights: Array) -> Array:
        """Spearman's ρ for each set of weights: the correlation of weighted mid-ranks."""
        total = weights.sum(1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample without trials, or with equal values only
            centred = []
            for signs in self.signs:
                ranks = weights @ ((signs.T > 0) * 1.0 + (signs.T == 0) * 0.5)  # the weight below each trial
                centred.append(ranks - (ranks * weights).sum(1, keepdims=True) / total)
            x, y = centred
            spread = np.sqrt((weights * x * x).sum(1) * (weights * y * y).sum(1))
            return np.asarray((weights * x * y).sum(1) / spread)


def _form(weights: Array, matrix: Array) -> Array:
    return np.asarray(((weights @ matrix) * weights).sum(1))


def _resampled(generator: np.random.Generator, compared: int, rest: int, samples: int) -> Array:
    """Bootstrap resamples of the lower rung: how often each compared trial is drawn, [samples, trials]."""
    everyone = compared + rest
    shares = np.full(everyone, 1.0 / everyone)
    return np.asarray(generator.multinomial(everyone, shares, size=samples)[:, :compared], dtype=np.float64)


def _estimate(value: float, draws: Array) -> Estimate:
    """A value with the 95 % percentile interval of its bootstrap (Efron 1979)."""
    kept = draws[np.isfinite(draws)]
    if not math.isfinite(value) or len(kept) < len(draws) / 2:
        return Estimate(float(value) if math.isfinite(value) else None)
    low, high = np.quantile(kept, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high))


def _modelled(
    lower: Values, both: list[int], y: Array, generator: np.random.Generator, samples: int
) -> tuple[Estimate, Estimate]:
    """τ and ρ over all trials of the lower rung, under the assumption that both values are normal."""
    everyone = np.array([lower[trial] for trial in both] + [v for t, v in lower.items() if t not in set(both)])
    continued = np.arange(len(everyone)) < len(both)
    upper = np.concatenate([y, np.zeros(len(everyone) - len(both))])
    draws = []
    for _ in range(samples):
        picked = generator.integers(0, len(everyone), len(everyone))
        if continued[picked].sum() >= LEAST:
            draws.append(_unrestricted(everyone[picked], upper[picked], continued[picked]))
    value, drawn = _unrestricted(everyone, upper, continued), np.array(draws)
    # Greiner's relation and Pearson's, for a normal pair of correlation r.
    tau = _estimate(2.0 / np.pi * np.arcsin(value), 2.0 / np.pi * np.arcsin(drawn))
    return tau, _estimate(6.0 / np.pi * np.arcsin(value / 2.0), 6.0 / np.pi * np.arcsin(drawn / 2.0))


def _unrestricted(x: Array, y: Array, continued: NDArray[np.bool_]) -> float:
    """Pearson's r of normal scores over all trials, from those that continued; NaN where all values are equal."""
    scores = _normal_scores(x)[continued]
    above = _normal_scores(y[continued])
    spread = float(scores.std())
    if spread < 1e-9 or float(above.std()) < 1e-9:
        return math.nan
    r = float(np.corrcoef(scores, above)[0, 1])
    return float(np.clip(r / math.sqrt(spread**2 * (1.0 - r**2) + r**2), -1.0, 1.0))


def _normal_scores(values: Array) -> Array:
    """Normal scores (van der Waerden's kind): the normal quantile of each rank; equal values share their mean rank."""
    ranks = pd.Series(values).rank().to_numpy()
    return np.asarray(ndtri((ranks - 0.5) / len(values)))
