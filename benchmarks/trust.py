"""Is what a study says of its own trustworthiness true, and is its way of choosing better? On recorded curves.

    python benchmarks/trust.py --data DIR --instances A,B,… [--studies 200] [--trials 54] [--anchors 0.2]

Agreement. A ladder of full/9 and full/3, and one of full/9, full/3 and full epochs, with a factor of 3; the studies are
spread over the instances, each draws its trials at random from one population of configurations, and lets some of those
that rest go on by lot. For each pair of rungs: how far the naive and the corrected τ are from the τ of the whole
population, how often the 95 % interval holds it, and how wide it is.

Choice, at equal epochs in all. On one side every trial has a third of the full epochs, and the winner is trained in
full. On the other a ladder of full/27, full/9 and full/3 halves, and its best three (or only the best) are trained in
full, the best of them being the choice. Regret is 0 at the best configuration of the population and 1 at its median;
the interval of a ratio is a bootstrap over studies.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median

import numpy as np
from curves import Array, Problem, open_problems
from scipy.stats import kendalltau

from orchestrator.policies.halving import HalvingPolicy
from orchestrator.policies.policy import Setting
from orchestrator.policies.simulate import simulate
from orchestrator.policies.supply import Supply
from orchestrator.results.trust import between
from orchestrator.study.draws import Draws
from orchestrator.study.ladder import Rung
from orchestrator.study.ranking import ranked
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState
from trainer.api import Metric

FACTOR = 3
METRIC = Metric("value", "value", "maximize")


def population(problem: Problem, size: int) -> Array:
    """Values of random configurations after full/27, full/9, full/3 and full epochs: [configurations, 4]."""
    chance = np.random.default_rng(0)
    ends = rung_ends(problem)
    rows = []
    for unit in chance.random((size, len(problem.dimensions))):
        params = {d.name: float(d.from_unit(np.array(u))) for d, u in zip(problem.dimensions, unit, strict=True)}
        rows.append(problem.curve(params)[[end - 1 for end in ends]])
    return np.array(rows)


def rung_ends(problem: Problem) -> tuple[int, ...]:
    return tuple(max(1, round(problem.full_epochs / FACTOR**power)) for power in (3, 2, 1, 0))


def study(
    values: Array, ends: Sequence[int], trials: int, draws: Draws, chance: np.random.Generator, epochs: float = math.inf
) -> tuple[StudyState, HalvingPolicy, Sequence[int]]:
    """A search over configurations drawn from a population whose columns are the rungs, until its trials or so many
    epochs are spent; with the rows of the population that its trials are."""
    drawn = chance.choice(len(values), trials, replace=False).tolist()
    rungs = [Rung(end, None, 32, None) for end in ends]
    setting = Setting(METRIC, rungs, Supply(trials, trials), {"reduction_factor": FACTOR}, draws=draws)
    policy = HalvingPolicy(setting)
    state = StudyState()

    def curve(trial: TrialState, epoch: int) -> float:
        return float(values[drawn[trial.number], sum(end < epoch for end in ends)])

    for spent, _ in enumerate(simulate(policy, rungs, lambda number, _: {"n": number}, curve, state), start=1):
        if spent >= epochs:
            break
    return state, policy, drawn


def agreement(populations: Sequence[Array], rungs: int, studies: int, trials: int, anchors: float) -> None:
    pairs = [(lower, upper) for upper in range(2, rungs + 1) for lower in range(1, upper)]
    found: dict[tuple[int, int], list[tuple[float, ...]]] = {pair: [] for pair in pairs}
    for number in range(studies):
        values = populations[number % len(populations)][:, 1 : 1 + rungs]
        chance = np.random.default_rng([1, number])
        state, policy, _ = study(values, range(1, rungs + 1), trials, Draws(anchors, 0.0, seed=number), chance)
        for lower, upper in pairs:
            ranks = between(policy.setting, state, lower, upper)
            if ranks is None or None in (ranks.tau.value, ranks.tau.low, ranks.tau.high, ranks.naive.value):
                continue
            truth = kendalltau(values[:, lower - 1], values[:, upper - 1]).statistic
            tau = ranks.tau
            figures = (ranks.naive.value - truth, tau.value - truth, tau.low <= truth <= tau.high, tau.high - tau.low)
            found[lower, upper].append((*figures, ranks.compared))
    print(f"{studies} studies of {trials} trials on {rungs} rungs, anchors {anchors:g}")
    for (lower, upper), rows in found.items():
        naive, corrected, held, width, compared = zip(*rows, strict=True)
        print(
            f"  rung {lower} → {upper}: {len(rows)} estimates from {fmean(compared):.0f} trials each; bias naive "
            f"{fmean(naive):+.3f}, corrected {fmean(corrected):+.3f}; intervals hold the truth in {fmean(held):.1%}, "
            f"median width {median(width):.2f}"
        )


def choice(populations: Sequence[Array], ends: Sequence[tuple[int, ...]], studies: int, trials: int) -> None:
    regrets: dict[str, list[float]] = {"small": [], "three": [], "one": []}
    for number in range(studies):
        values, (*rungs, full) = populations[number % len(populations)], ends[number % len(populations)]
        best, middle = values[:, 3].max(), float(np.median(values[:, 3]))
        chance = np.random.default_rng([2, number])
        small = chance.choice(len(values), trials, replace=False)
        chosen = {"small": [int(small[np.argmax(values[small, 2])])]}
        total = trials * rungs[-1] + full
        for name, promoted in (("three", 3), ("one", 1)):
            chance = np.random.default_rng([2, number])
            left = total - promoted * full
            state, _, drawn = study(values[:, :3], rungs, min(len(values), left // rungs[0]), Draws(), chance, left)
            chosen[name] = [drawn[trial.number] for trial in ranked(state, METRIC)[:promoted]]
        for name, rows in chosen.items():
            regrets[name].append((best - values[rows, 3].max()) / (best - middle))
    arrays = {name: np.array(found) for name, found in regrets.items()}
    print(f"{studies} studies, as many epochs in all as {trials} trials at a third and one in full")
    print(f"  the winner of the small budget: regret {arrays['small'].mean():.3f}")
    for name, words in (("three", "our ladder, three promoted"), ("one", "our ladder, one promoted")):
        ratio, low, high = ratio_of(arrays[name], arrays["small"])
        print(f"  {words}: regret {arrays[name].mean():.3f}, {ratio:.2f} of it (95 %: {low:.2f} to {high:.2f})")


def ratio_of(one: Array, other: Array) -> tuple[float, float, float]:
    """The ratio of two means over the same studies, with its bootstrap interval."""
    chance = np.random.default_rng(0)
    draws = [chance.integers(0, len(one), len(one)) for _ in range(5000)]
    low, high = np.quantile([one[places].mean() / other[places].mean() for places in draws], (0.025, 0.975))
    return float(one.mean() / other.mean()), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--instances", required=True)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--trials", type=int, default=54)
    parser.add_argument("--small", type=int, default=24)
    parser.add_argument("--anchors", type=float, default=0.2)
    parser.add_argument("--population", type=int, default=1000)
    said = parser.parse_args()
    problems = open_problems(said.data, said.instances.split(","))
    populations = [population(problem, said.population) for problem in problems]
    print(f"{len(problems)} instances, {said.population} configurations each")
    for rungs in (2, 3):
        agreement(populations, rungs, said.studies, said.trials, said.anchors)
    choice(populations, [rung_ends(problem) for problem in problems], said.studies, said.small)


if __name__ == "__main__":
    main()
