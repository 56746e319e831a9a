"""The best promoted trial, and how certain the choice is: means over seeds, and the spread between seeds."""

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
    """The values of the completed promoted runs, by the trial whose configuration they train."""
    values: dict[int, list[float]] = defaultdict(list)
    for run in full.in_order():
        if run.status == COMPLETED and run.value is not None:
            values[run.source_trial].append(run.value)
    return dict(values)


def noise_of(runs: Runs) -> tuple[float | None, int]:
    """The standard deviation between seeds, pooled over trials, and its degrees of freedom; None without two seeds."""
    degrees = sum(len(values) - 1 for values in runs.values())
    if not degrees:
        return None, 0
    squares = sum((value - fmean(values)) ** 2 for values in runs.values() for value in values)
    return math.sqrt(squares / degrees), degrees


def mean_of(values: Sequence[float], noise: float | None, degrees: int) -> Estimate:
    """A mean over seeds with its 95 % interval (Student's t with the pooled standard deviation)."""
    mean = fmean(values)
    if noise is None:
        return Estimate(mean)
    half = float(stdtrit(degrees, 0.975)) * noise / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def choose(runs: Runs, metric: Metric) -> Choice | None:
    """The trial with the best mean, and how far it is ahead of the second; None where no run is completed."""
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
    interval = ""
    if choice.mean.low is not None and choice.mean.high is not None:
        interval = f"95 %: {choice.mean.low:.4g} to {choice.mean.high:.4g}, "
    seeds = counted(choice.seeds, "seed")
    return f"trial {choice.trial_id}{of}: {label} {choice.mean.value:.4g} ({interval}{seeds}){_lead_words(choice)}"


def _lead_words(choice: Choice) -> str:
    if choice.runner_up is None or choice.lead is None:
        return ""
    ahead = f"{choice.lead.value:.3g} ahead of trial {choice.runner_up}"
    if choice.tie is None:
        return f", {ahead}; with one seed each this may be chance"
    tie = ": a tie, either may be the better one" if choice.tie else ""
    return f", {ahead} (95 %: {choice.lead.low:.3g} to {choice.lead.high:.3g}){tie}"
