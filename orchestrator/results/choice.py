"""Which promoted trial is the best, and how sure that is: means over seeds, and the spread from seed to seed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from scipy.special import stdtrit

from orchestrator.study.state import StudyState
from orchestrator.study.text import counted
from orchestrator.study.trial import COMPLETED
from reports.record import Choice, Estimate
from trainer.api import Metric

Runs = Mapping[int, Sequence[float]]  # trial id → the values of its completed runs


def full_values(full: StudyState) -> Runs:
    """The values of the promoted runs that were completed, by the trial that they train."""
    found: dict[int, list[float]] = defaultdict(list)
    for run in full.in_order():
        if run.status == COMPLETED and run.value is not None:
            found[run.source_trial].append(run.value)
    return dict(found)


def noise_of(runs: Runs) -> tuple[float | None, int]:
    """The standard deviation from seed to seed, pooled over trials, and its degrees of freedom.

    None where no trial has two seeds.
    """
    degrees = sum(len(values) - 1 for values in runs.values())
    if not degrees:
        return None, 0
    squares = sum((value - fmean(values)) ** 2 for values in runs.values() for value in values)
    return math.sqrt(squares / degrees), degrees


def mean_of(values: Sequence[float], noise: float | None, degrees: int) -> Estimate:
    """A mean over seeds with its 95 % interval (Student's t over the pooled spread)."""
    mean = fmean(values)
    if noise is None:
        return Estimate(mean)
    half = float(stdtrit(degrees, 0.975)) * noise / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def choose(runs: Runs, metric: Metric) -> Choice | None:
    """The trial with the best mean, and how far it leads; None where no run was completed."""
    if not runs:
        return None
    order = sorted(runs, key=lambda trial: (metric.key(fmean(runs[trial])), trial))
    noise, degrees = noise_of(runs)
    winner = order[0]
    mean = mean_of(runs[winner], noise, degrees)
    if len(order) == 1:
        return Choice(winner, mean, len(runs[winner]))
    second = order[1]
    ahead = metric.key(fmean(runs[second])) - metric.key(fmean(runs[winner]))
    if noise is None:
        return Choice(winner, mean, len(runs[winner]), second, Estimate(ahead))
    spread = noise * math.sqrt(1.0 / len(runs[winner]) + 1.0 / len(runs[second]))
    half = float(stdtrit(degrees, 0.975)) * spread
    lead = Estimate(ahead, ahead - half, ahead + half)
    return Choice(winner, mean, len(runs[winner]), second, lead, tie=ahead <= half)


def choice_words(choice: Choice, label: str, of: str = "") -> str:
    """`trial 4: BLEU 52.3 (95 %: 51.1 to 53.5, 2 seeds), 1.2 ahead of trial 2 (95 %: 0.4 to 2)`."""
    sure = ""
    if choice.mean.low is not None and choice.mean.high is not None:
        sure = f"95 %: {choice.mean.low:.4g} to {choice.mean.high:.4g}, "
    seeds = counted(choice.seeds, "seed")
    return f"trial {choice.trial_id}{of}: {label} {choice.mean.value:.4g} ({sure}{seeds}){_rival_words(choice)}"


def _rival_words(choice: Choice) -> str:
    if choice.runner_up is None or choice.lead is None:
        return ""
    ahead = f"{choice.lead.value:.3g} ahead of trial {choice.runner_up}"
    if choice.tie is None:
        return f", {ahead}; with one seed each nobody can say whether that is luck"
    interval = f"95 %: {choice.lead.low:.3g} to {choice.lead.high:.3g}"
    if choice.tie:
        return f", {ahead} ({interval}): a tie, either may be the better one"
    return f", {ahead} ({interval})"
