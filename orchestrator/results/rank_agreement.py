"""The statistics of trust: how well the order of trials on one rung foretells their order on a higher one.

Only the best of a rung go on, so the trials that have both values are alike, and any rank correlation among them is
too low. Where some went on by a draw of known chance (`policy.trust`), each pair is weighted by one over the chance
that both went on (Horvitz and Thompson, JASA 47, 1952), and the bias is gone; where none did, the correlation is
corrected for the restricted range under a normal model (Thorndike 1949), which takes away about half of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from reports.record import Estimate

Array = NDArray[np.float64]
Values = Mapping[int, float]  # by trial; the larger, the better

SAMPLES = 1000  # of the bootstrap
LEAST = 3  # trials in common, below which nothing is estimated
FEW = 5  # trials in common, below which a perfect order too comes by chance more than once in twenty: no intervals
MOST = 300  # trials in common; of more, so many are drawn
POOR = 0.3


@dataclass(frozen=True)
class Ranks:
    """What is estimated from the trials that two rungs have in common.

    `naive` is Kendall's τ-b among them as they are; `tau` and `rho` (Spearman's) are corrected for who went on.
    `method` says how: `all` went on, `anchors` were drawn, a normal `model` is assumed. `overlap` is the share of the
    `top` best of the lower rung that are among the `top` best of the upper; `regret` what choosing by the lower costs.
    """

    seen: int
    compared: int
    anchors: int
    method: str
    naive: Estimate
    tau: Estimate
    rho: Estimate
    top: int
    overlap: float
    regret: float

    @property
    def poor(self) -> bool:
        """Beyond doubt: the whole interval lies where the lower rung is of no use."""
        return self.method != "model" and self.tau.high is not None and self.tau.high < POOR


def compare(
    lower: Values, upper: Values, chances: Values | None = None, samples: int = SAMPLES, everyone: int | None = None
) -> Ranks | None:
    """How alike two rungs order trials; None where fewer than three have values on both.

    `chances`, by trial, are those of having come to the upper rung: 1 where not named. `everyone` is how many trials
    there were before anyone was left behind, where they are more than those on the lower rung.
    """
    both = [trial for trial in lower if trial in upper]
    if len(both) < LEAST:
        return None
    chance = np.random.default_rng(0)  # the same figures from the same study
    rest = max(len(lower), everyone or 0) - len(both)
    if len(both) > MOST:
        rest = round(rest * MOST / len(both))
        both = sorted(chance.permutation(both)[:MOST].tolist())
    x, y = (np.array([values[trial] for trial in both]) for values in (lower, upper))
    weights = 1.0 / np.array([(chances or {}).get(trial, 1.0) for trial in both])
    anchors = int((weights > 1.0).sum())
    method = "anchors" if anchors else "all" if rest == 0 else "model"
    pairs = _Pairs(x, y)
    drawn = _resampled(chance, len(both), rest, samples)
    naive = _estimate(pairs.tau(np.ones((1, len(both))))[0], pairs.tau(drawn))
    if method == "model":
        tau, rho = _modelled(lower, both, y, chance, samples // 4)
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
    """Pairs of trials, to be weighted in many ways at once: weights are [ways, trials]."""

    def __init__(self, x: Array, y: Array) -> None:
        self.signs = [np.sign(values[:, None] - values[None, :]) for values in (x, y)]

    def tau(self, weights: Array) -> Array:
        """Kendall's τ-b (Biometrika 33, 1945) of each way; NaN where all values are equal."""
        left, right = self.signs
        both, one, other = (_form(weights, matrix) for matrix in (left * right, np.abs(left), np.abs(right)))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(both / np.sqrt(one * other))

    def rho(self, weights: Array) -> Array:
        """Spearman's ρ of each way: the correlation of weighted mid-ranks."""
        total = weights.sum(1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):  # a way that drew nobody, or only equal values
            centred = []
            for signs in self.signs:
                ranks = weights @ ((signs.T > 0) * 1.0 + (signs.T == 0) * 0.5)  # how much lies below each
                centred.append(ranks - (ranks * weights).sum(1, keepdims=True) / total)
            x, y = centred
            spread = np.sqrt((weights * x * x).sum(1) * (weights * y * y).sum(1))
            return np.asarray((weights * x * y).sum(1) / spread)


def _form(weights: Array, matrix: Array) -> Array:
    return np.asarray(((weights @ matrix) * weights).sum(1))


def _resampled(chance: np.random.Generator, compared: int, rest: int, samples: int) -> Array:
    """How often each compared trial is among as many draws as the lower rung has trials: [samples, trials]."""
    everyone = compared + rest
    shares = np.full(everyone, 1.0 / everyone)
    return np.asarray(chance.multinomial(everyone, shares, size=samples)[:, :compared], dtype=np.float64)


def _estimate(value: float, draws: Array) -> Estimate:
    """A value with the 95 % percentile interval of its bootstrap (Efron 1979)."""
    kept = draws[np.isfinite(draws)]
    if not math.isfinite(value) or len(kept) < len(draws) / 2:
        return Estimate(float(value) if math.isfinite(value) else None)
    low, high = np.quantile(kept, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high))


def _modelled(
    lower: Values, both: list[int], y: Array, chance: np.random.Generator, samples: int
) -> tuple[Estimate, Estimate]:
    """τ and ρ over all trials of the lower rung, as they would be were both values normal."""
    everyone = np.array([lower[trial] for trial in both] + [v for t, v in lower.items() if t not in set(both)])
    went_on = np.arange(len(everyone)) < len(both)
    upper = np.concatenate([y, np.zeros(len(everyone) - len(both))])
    draws = []
    for _ in range(samples):
        picked = chance.integers(0, len(everyone), len(everyone))
        if went_on[picked].sum() >= LEAST:
            draws.append(_unrestricted(everyone[picked], upper[picked], went_on[picked]))
    value, drawn = _unrestricted(everyone, upper, went_on), np.array(draws)
    # Greiner's relation and Pearson's, for a normal pair of correlation r.
    tau = _estimate(2.0 / np.pi * np.arcsin(value), 2.0 / np.pi * np.arcsin(drawn))
    return tau, _estimate(6.0 / np.pi * np.arcsin(value / 2.0), 6.0 / np.pi * np.arcsin(drawn / 2.0))


def _unrestricted(x: Array, y: Array, went_on: NDArray[np.bool_]) -> float:
    """Pearson's r of normal scores over all, from those who went on; NaN where they are all equal."""
    scores = _normal_scores(x)[went_on]
    above = _normal_scores(y[went_on])
    spread = float(scores.std())
    if spread < 1e-9 or float(above.std()) < 1e-9:
        return math.nan
    r = float(np.corrcoef(scores, above)[0, 1])
    return float(np.clip(r / math.sqrt(spread**2 * (1.0 - r**2) + r**2), -1.0, 1.0))


def _normal_scores(values: Array) -> Array:
    """Where equally many normal numbers would lie, in the same order; equal values share the middle of their ranks."""
    ranks = pd.Series(values).rank().to_numpy()
    return np.asarray(ndtri((ranks - 0.5) / len(values)))
