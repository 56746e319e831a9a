"""Warnings about a study's rungs, while it runs."""

from __future__ import annotations

from collections import Counter

from orchestrator.results.rank_agreement import Ranks
from orchestrator.results.trust import between, results_on
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState
from trainer.api import LOSS, known_keys

_GROWTH = 1.2  # a look costs as much as dozens of decisions: the next is due when a fifth more can be compared
_TELLING = 6  # fewer results may be the same by chance


class Doubt:
    """Warns once of a rung that does not predict the next one, or on which most trials have the same value."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        # Where only the best go on, nothing that they say of a rung is beyond doubt.
        self._able = plan.reduction_factor is None or plan.draws.chance > 0.0
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
            f"warning: rung {lower} ({rungs[lower - 1].words()}) does not predict rung {lower + 1}: τ is "
            f"{tau.value:.2f} (95 %: {tau.low:.2f} to {tau.high:.2f}) over {ranks.compared} trials; the next study is "
            f"better off without it: {advice}"
        )
