"""Warnings about the rungs of a study, while it runs."""

from __future__ import annotations

from collections import Counter

from orchestrator.results.trust import between, results_on
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState
from reports.record import Ranks
from trainer.api import LOSS, known_keys

_GROWTH = 1.2  # an estimate costs as much as dozens of decisions: the next is due with a fifth more trials to compare
_ENOUGH_RESULTS = 6  # fewer results may be equal by chance


class Doubt:
    """Warns once about each rung that does not predict the next one, or on which most trials have the same value."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        # Where only the best continue, their values alone cannot prove that a rung misleads.
        self._can_estimate = plan.reduction_factor is None or plan.draws.chance > 0.0
        self._compared: dict[int, int] = {}  # by lower rung: how many trials the last estimate compared
        self._values: dict[int, dict[int, float]] = {}
        self._misleading: set[int] = set()  # lower rungs and rungs with ties that a warning was given for
        self._tied: set[int] = set()

    def about(self, trial: TrialState, state: StudyState) -> str:
        """A warning about the rung that a trial has just finished, or the one below; empty where there is none."""
        return self._of_ties(trial, state) or self._of_order(trial, state)

    def _of_ties(self, trial: TrialState, state: StudyState) -> str:
        """A metric with the same value for most trials ranks them by chance."""
        rung = trial.reached
        if rung in self._tied or rung not in trial.results or self.plan.metric == LOSS:
            return ""
        values = self._values.setdefault(rung, results_on(state, rung))
        values[trial.number] = trial.results[rung]
        value, times = Counter(values.values()).most_common(1)[0]
        if len(values) < _ENOUGH_RESULTS or times <= len(values) / 2:
            return ""
        self._tied.add(rung)
        metric, where = self.plan.metric, self.plan.rungs[rung - 1].words()
        switch = f"metrics.{metric.name}"
        by_loss = f", or a study with {switch}=false, which ranks by the validation loss"
        advice = by_loss if switch in known_keys(self.plan.base_config.task) else ""
        return (
            f"warning: {metric.label} is {value:.4g} for {times} of {len(values)} trials at rung {rung} ({where}): "
            f"it does not distinguish them; another budget may{advice}"
        )

    def _of_order(self, trial: TrialState, state: StudyState) -> str:
        lower = trial.reached - 1
        if not self._can_estimate or lower < 1 or lower in self._misleading:
            return ""
        common = len(results_on(state, lower + 1))
        if common < self._compared.get(lower, 0) * _GROWTH:
            return ""
        self._compared[lower] = common
        ranks = between(self.plan, state, lower, lower + 1, samples=300)
        if ranks is None or not ranks.poor:
            return ""
        self._misleading.add(lower)
        return self._words(lower, ranks)

    def _words(self, lower: int, ranks: Ranks) -> str:
        rungs = self.plan.rungs
        kept = ",".join(rung.text() for number, rung in enumerate(rungs, start=1) if number != lower)
        leave_out = f"leave it out of the next study: --ladder {kept}"
        advice = leave_out if len(rungs) > 2 else "give it a larger budget in the next study, or use no ladder"
        tau = ranks.tau
        return (
            f"warning: rung {lower} ({rungs[lower - 1].words()}) does not predict rung {lower + 1}: τ is "
            f"{tau.value:.2f} (95 %: {tau.low:.2f} to {tau.high:.2f}) over {ranks.compared} trials; {advice}"
        )
