"""What a study says of its own trustworthiness, from its state: agreement between rungs, and what an audit found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from statistics import fmean
from typing import Protocol

from scipy.special import betaincinv

from orchestrator.results.choice import full_values
from orchestrator.results.rank_agreement import SAMPLES, Ranks, compare
from orchestrator.study.lots import Trust
from orchestrator.study.plan import Plan
from orchestrator.study.state import COMPLETED, StudyState, TrialState
from reports.record import Agreement, Audit, Estimate
from trainer.api import LOSS, Metric, known_keys

FULL = 0  # stands for full training where rungs are numbered


def results_on(state: StudyState, rung: int) -> dict[int, float]:
    """Trial number → value, of every trial with a result of its own on a rung."""
    there = (trial for trial in state.standing() if trial.origin is None and rung in trial.results)
    return {trial.number: trial.results[rung] for trial in there}


class Trusting(Protocol):
    """A plan, or a policy: by what rule and by what lots trials go on."""

    @property
    def metric(self) -> Metric: ...
    @property
    def trust(self) -> Trust: ...
    @property
    def reduction_factor(self) -> float | None: ...


def chances(rule: Trusting, state: StudyState, upper: int) -> dict[int, float]:
    """The chance that a trial came from the lowest rung up to another, for those that did so by lot: others went on by
    rank, as they would have done in any case."""
    found: dict[int, float] = {}
    for rung in range(1, upper):
        best = _best(rule, state, rung)
        for trial in state.in_order():
            if rung in trial.spared and trial.number not in best:
                found[trial.number] = found.get(trial.number, 1.0) * rule.trust.chance
    return found


def _best(rule: Trusting, state: StudyState, rung: int) -> set[int]:
    """The trials whose rank on a rung lets them go on."""
    values = results_on(state, rung)
    sign = -1.0 if rule.metric.direction == "maximize" else 1.0
    order = sorted(values, key=lambda number: (sign * values[number], number))
    factor = rule.reduction_factor
    return set(order[: math.floor(len(order) / factor + 1e-9)]) if factor else set()


def between(rule: Trusting, state: StudyState, lower: int, upper: int, samples: int = SAMPLES) -> Ranks | None:
    """Agreement of two rungs over all configurations, not only those that came to the lower one; None where the two
    have too few trials in common."""
    everyone = len(results_on(state, 1))
    lots = chances(rule, state, upper)
    maximize = rule.metric.direction == "maximize"
    return compare(results_on(state, lower), results_on(state, upper), lots, maximize, samples, everyone)


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
    # Who is promoted is chosen by rank alone, so there is no chance to weigh by.
    ranks = compare(below, trained, None, plan.metric.direction == "maximize")
    if ranks is not None:
        yield _agreement(ranks, f"rung {top}" if top > 1 else "the search", "full training", below, trained)


def _agreement(ranks: Ranks, lower: str, upper: str, below: dict[int, float], above: dict[int, float]) -> Agreement:
    by_id = ({number + 1: value for number, value in values.items()} for values in (below, above))
    return Agreement(
        lower, upper, ranks.seen, ranks.compared, ranks.anchors, ranks.method, ranks.naive, ranks.tau,  # type: ignore[arg-type]
        ranks.rho, ranks.top, ranks.overlap, ranks.regret, ranks.poor, *by_id,
    )  # fmt: skip


def audit_of(plan: Plan, state: StudyState) -> Audit | None:
    """What became of the trials that were trained to the end by lot; None before the first came there."""
    ended = [t for t in state.with_status(COMPLETED) if t.origin is None and len(plan.rungs) in t.results]
    audited = [trial for trial in ended if "audit" in trial.spared.values()]
    others = [trial for trial in ended if not trial.spared]
    if not audited or not others:
        return None
    sign = 1.0 if plan.metric.direction == "maximize" else -1.0
    best = max(sign * trial.result for trial in others)
    ahead = [sign * trial.result - best for trial in audited]
    wrong = sum(lead > 0 for lead in ahead)
    return Audit(len(audited), wrong, max(0.0, *ahead), _share(wrong, len(audited)))


def _share(some: int, of: int) -> Estimate:
    """A share with the interval of Clopper and Pearson (Biometrika 26, 1934)."""
    low = float(betaincinv(some, of - some + 1, 0.025)) if some else 0.0
    high = float(betaincinv(some + 1, of - some, 0.975)) if some < of else 1.0
    return Estimate(some / of, low, high)


_GROWTH = 1.2  # a look costs as much as dozens of decisions: the next is due when a fifth more can be compared
_TELLING = 6  # fewer results may be the same by chance


class Doubt:
    """Warns once, while a study runs, of a rung that foretells nothing, or on which most trials are the same."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        # Where only the best go on, nothing that they say of a rung is beyond doubt.
        self._able = plan.reduction_factor is None or plan.trust.chance > 0.0
        self._looked: dict[int, int] = {}
        self._said: set[int] = set()
        self._values: dict[int, dict[int, float]] = {}
        self._same: set[int] = set()

    def about(self, trial: TrialState, state: StudyState) -> str:
        """Looks at the rung that a trial has just come to the end of, and the one below; empty where all is well."""
        return self._of_ties(trial, state) or self._of_order(trial, state)

    def _of_ties(self, trial: TrialState, state: StudyState) -> str:
        """A metric that has one value for most trials ranks them by chance."""
        rung = trial.reached
        if rung in self._same or rung not in trial.results or self.plan.metric == LOSS:
            return ""
        values = self._values.setdefault(rung, results_on(state, rung))
        values[trial.number] = trial.results[rung]
        value, times = Counter(values.values()).most_common(1)[0]
        if len(values) < _TELLING or times <= len(values) / 2:
            return ""
        self._same.add(rung)
        metric, where = self.plan.metric, self.plan.rungs[rung - 1].words()
        switch = f"metrics.{metric.name}"
        by_loss = f", or a study with {switch}=false, which goes by the validation loss"
        advice = by_loss if switch in known_keys(self.plan.base_config.task) else ""
        return (
            f"warning: {metric.label} is {value:.4g} for {times} of {len(values)} trials at rung {rung} ({where}): "
            f"it does not tell them apart; another budget may{advice}"
        )

    def _of_order(self, trial: TrialState, state: StudyState) -> str:
        lower = trial.reached - 1
        if not self._able or lower < 1 or lower in self._said:
            return ""
        common = len(results_on(state, lower + 1))
        if common < self._looked.get(lower, 0) * _GROWTH:
            return ""
        self._looked[lower] = common
        ranks = between(self.plan, state, lower, lower + 1, samples=300)
        if ranks is None or not ranks.poor:
            return ""
        self._said.add(lower)
        return self._words(lower, ranks)

    def _words(self, lower: int, ranks: Ranks) -> str:
        rungs = self.plan.rungs
        kept = ",".join(rung.text() for number, rung in enumerate(rungs, start=1) if number != lower)
        advice = f"--ladder {kept}" if len(rungs) > 2 else "a larger budget on it, or none"
        tau = ranks.tau
        return (
            f"warning: rung {lower} ({rungs[lower - 1].words()}) does not foretell rung {lower + 1}: τ is "
            f"{tau.value:.2f} (95 %: {tau.low:.2f} to {tau.high:.2f}) over {ranks.compared} trials; the next study is "
            f"better off without it: {advice}"
        )
