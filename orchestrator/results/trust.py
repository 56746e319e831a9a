"""Trust in a study, computed from its state: the agreement between rungs, and the result of the audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from statistics import fmean
from typing import Protocol

from orchestrator.results.choice import full_values
from orchestrator.results.rank_agreement import SAMPLES, compare
from orchestrator.study.draws import Draws
from orchestrator.study.plan import Plan
from orchestrator.study.ranking import on_rung, places
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED
from reports.record import Agreement, Audit, Estimate, Ranks
from trainer.api import Metric


def results_on(state: StudyState, rung: int) -> dict[int, float]:
    """The values on a rung, by trial number, of the trials with a result of their own there."""
    there = (trial for trial in state.standing() if trial.origin is None and rung in trial.results)
    return {trial.number: trial.results[rung] for trial in there}


class Rule(Protocol):
    """The rule by which trials continue, and the draws beside it: a plan has them, and a policy's setting."""

    @property
    def metric(self) -> Metric: ...
    @property
    def draws(self) -> Draws: ...
    @property
    def reduction_factor(self) -> float | None: ...


def chances(rule: Rule, state: StudyState, upper: int) -> dict[int, float]:
    """The probability of reaching the rung `upper`, for trials that continued by a draw; others continued by rank, with
    probability 1."""
    chance: dict[int, float] = {}
    for rung in range(1, upper):
        best = _best(rule, state, rung)
        for trial in state.in_order():
            if rung in trial.spared and trial.number not in best:
                chance[trial.number] = chance.get(trial.number, 1.0) * rule.draws.chance
    return chance


def _best(rule: Rule, state: StudyState, rung: int) -> set[int]:
    """The trials whose rank on a rung lets them continue."""
    if not rule.reduction_factor:
        return set()
    ranked = on_rung(state, rung, rule.metric)
    return {trial.number for trial in ranked[: places(len(ranked), rule.reduction_factor)]}


def between(rule: Rule, state: StudyState, lower: int, upper: int, samples: int = SAMPLES) -> Ranks | None:
    """Agreement of two rungs over all configurations, not only over those that reached the lower one; None where the
    rungs have too few trials in common."""
    everyone = len(results_on(state, 1))
    below, above = (_scores(results_on(state, rung), rule.metric) for rung in (lower, upper))
    return compare(below, above, chances(rule, state, upper), samples, everyone)


def _scores(values: Mapping[int, float], metric: Metric) -> dict[int, float]:
    """Values for the statistics, where larger is always better."""
    return {trial: -metric.key(value) for trial, value in values.items()}


def agreements(plan: Plan, search: StudyState, full: StudyState) -> Iterator[Agreement]:
    """Each rung and the next, the lowest and the highest, the highest and full training."""
    top = len(plan.rungs)
    pairs = list(pairwise(range(1, top + 1)))
    if top > 2:
        pairs.append((1, top))
    for lower, upper in pairs:
        ranks = between(plan, search, lower, upper)
        if ranks is not None:
            values = results_on(search, lower), results_on(search, upper)
            yield _agreement(ranks, f"rung {lower}", f"rung {upper}", *values)
    trained = {trial_id - 1: fmean(values) for trial_id, values in full_values(full).items()}
    below = results_on(search, top)
    # Promotion is by rank alone, so there are no probabilities to weight by.
    ranks = compare(_scores(below, plan.metric), _scores(trained, plan.metric))
    if ranks is not None:
        yield _agreement(ranks, f"rung {top}" if top > 1 else "the search", "full training", below, trained)


def _agreement(ranks: Ranks, lower: str, upper: str, below: dict[int, float], above: dict[int, float]) -> Agreement:
    lower_values, upper_values = ({number + 1: value for number, value in values.items()} for values in (below, above))
    return Agreement(**vars(ranks), lower=lower, upper=upper, lower_values=lower_values, upper_values=upper_values)


def audit_of(plan: Plan, state: StudyState) -> Audit | None:
    """The results of the trials that were drawn to be trained to the end; None before the first of them is done."""
    ended = [t for t in state.with_status(COMPLETED) if t.origin is None and len(plan.rungs) in t.results]
    audited = [trial for trial in ended if "audit" in trial.spared.values()]
    others = [trial for trial in ended if not trial.spared]
    if not audited or not others:
        return None
    best = min(plan.metric.key(trial.result) for trial in others)
    ahead = [best - plan.metric.key(trial.result) for trial in audited]
    wrong = sum(lead > 0 for lead in ahead)
    return Audit(len(audited), wrong, max(0.0, *ahead), _share(wrong, len(audited)))


def _share(some: int, of: int) -> Estimate:
    """A share with the 95 % interval of Clopper and Pearson (Biometrika 26, 1934)."""
    from scipy.stats import binomtest  # takes its time to import

    interval = binomtest(some, of).proportion_ci(0.95, method="exact")
    return Estimate(some / of, float(interval.low), float(interval.high))
