"""The trials of a record as an Optuna study in memory, and the importance of its parameters.

Names and texts are shortened and escaped here, once, because Optuna's plots show them unchanged.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial

from reports.curves import thinned
from reports.formatting import param_text, shorten
from reports.plot_style import plain
from reports.ranking import best_first
from reports.record import Metric, StudyRecord, Trial
from reports.rungs import comparable

LEAST_FOR_IMPORTANCE = 10
BEST_TRIALS_WANTED = 5  # PED-ANOVA is stable with at least five trials above its quantile
MAX_CHOICES = 24  # of a parameter that is not a number: more are free texts rather than choices


@dataclass(frozen=True)
class ParameterStudy:
    """The trials that can be compared, as an Optuna study. `names` maps its parameter names to dotted keys.

    `rung` is the rung on which the trials are compared; `lacking` counts the trials without a parameter, if there are
    any.
    """

    study: optuna.Study
    metric: Metric
    trials: Sequence[Trial]
    names: Mapping[str, str]
    rung: int
    lacking: Mapping[str, int]


def parameter_study(record: StudyRecord) -> ParameterStudy | None:
    """The trials with comparable values and the parameters that vary among them; None if no parameter varies."""
    rung, values = comparable(record, LEAST_FOR_IMPORTANCE)
    trials = [trial for trial in record.trials if trial.trial_id in values]
    known: dict[str, dict[int, Any]] = {}
    distributions: dict[str, BaseDistribution] = {}
    names: dict[str, str] = {}
    for key in record.parameters:
        by_trial = {trial.trial_id: trial.params[key] for trial in trials if key in trial.params}
        distribution, values_in_it = _distribution(by_trial, key in record.log_parameters)
        if distribution is not None:
            name = _unique(plain(shorten(key, 40)), names)
            names[name], distributions[name], known[name] = key, distribution, values_in_it
    if not names:
        return None
    frozen = [
        optuna.create_trial(
            value=values[trial.trial_id],
            params={name: known[name][trial.trial_id] for name in names if trial.trial_id in known[name]},
            distributions={name: distributions[name] for name in names if trial.trial_id in known[name]},
        )
        for trial in trials
    ]
    lacking = {name: len(trials) - len(known[name]) for name in names if len(known[name]) < len(trials)}
    return ParameterStudy(_study_of(record.metric, frozen), record.metric, trials, names, rung, lacking)


def importances(compared: ParameterStudy) -> dict[str, float]:
    """PED-ANOVA's importance of each parameter for being among the best, as shares of their sum, the largest first.

    S. Watanabe et al., PED-ANOVA, IJCAI 2023, arXiv:2304.10255. A parameter that some trials lack is evaluated over
    the trials that have it. Empty if there are fewer than `LEAST_FOR_IMPORTANCE` trials.
    """
    count = len(compared.trials)
    if count < LEAST_FOR_IMPORTANCE:
        return {}
    raw: dict[str, float] = {}
    with _quiet():
        evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, min(0.5, BEST_TRIALS_WANTED / count)))
        for name in compared.names:
            value = evaluator.evaluate(compared.study, params=[name]).get(name, 0.0)
            raw[name] = value if math.isfinite(value) else 0.0
    total = sum(raw.values())
    return {name: raw[name] / total for name in sorted(raw, key=lambda name: -raw[name])} if total > 0 else {}


def by_importance(compared: ParameterStudy, shares: Mapping[str, float] | None = None) -> list[str]:
    """The parameters, the most important first; those without an importance follow in the order of the record."""
    shares = importances(compared) if shares is None else shares
    return [*shares, *(name for name in compared.names if name not in shares)]


def top_pair(compared: ParameterStudy, names: Sequence[str]) -> tuple[str, str] | None:
    """The two most important parameters that enough trials have in common."""
    for place, second in enumerate(names[1:], start=1):
        for first in names[:place]:
            lacking = compared.lacking.get(first, 0) + compared.lacking.get(second, 0)
            if len(compared.trials) - lacking >= LEAST_FOR_IMPORTANCE:
                return min(first, second), max(first, second)  # the order that Optuna uses
    return None


def at_most(compared: ParameterStudy, limit: int) -> ParameterStudy:
    """The same with at most `limit` trials: one half are the best, the other half evenly spread over the rest."""
    if len(compared.trials) <= limit:
        return compared
    frozen = compared.study.get_trials(deepcopy=False)
    order = best_first(compared.metric, [trial.value or 0.0 for trial in frozen])
    others = order[limit // 2 :]
    kept = sorted(order[: limit // 2] + [others[index] for index in thinned(len(others), limit - limit // 2)])
    study = _study_of(compared.metric, [frozen[index] for index in kept])
    return replace(compared, study=study, trials=[compared.trials[index] for index in kept])


def _study_of(metric: Metric, trials: Sequence[FrozenTrial]) -> optuna.Study:
    with _quiet():
        study = optuna.create_study(direction=metric.direction)
        study.add_trials(trials)
    return study


def _distribution(values: Mapping[int, Any], log: bool) -> tuple[BaseDistribution | None, dict[int, Any]]:
    """The smallest distribution that contains the values of the trials, and the values; None if they do not vary."""
    if values and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values.values()):
        numbers = {trial_id: v for trial_id, v in values.items() if math.isfinite(v) and abs(v) < 1e300}
        low, high = min(numbers.values(), default=0), max(numbers.values(), default=0)
        if low == high:
            return None, {}
        if all(isinstance(v, int) for v in numbers.values()):
            return IntDistribution(low, high, log=log and low >= 1), numbers
        return FloatDistribution(float(low), float(high), log=log and low > 0), numbers
    labels: dict[str, str] = {}
    for value in values.values():
        text = param_text(value)
        if text not in labels.values():
            labels[_unique(plain(shorten(text, 24)), labels)] = text
    if not 1 < len(labels) <= MAX_CHOICES:
        return None, {}
    label_of = {text: label for label, text in labels.items()}
    return CategoricalDistribution(sorted(labels)), {
        trial_id: label_of[param_text(v)] for trial_id, v in values.items()
    }


def _unique(name: str, others: Mapping[str, Any]) -> str:
    """The name, with a number if another has become equal by shortening."""
    number, unique = 1, name
    while unique in others:
        number += 1
        unique = f"{name} ({number})"
    return unique


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna: it logs every new study and warns of things that the report explains itself."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
