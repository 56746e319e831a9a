"""A study's parameters as Optuna knows them: a study in memory with the record's trials, and what matters in it.

Names and texts are shortened and escaped here, once, because Optuna's plots show them as they are.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator

from reports.ranking import thinned
from reports.record import StudyRecord, Trial
from reports.rungs import comparable
from reports.style import plain
from reports.words import param_text, shorten

LEAST_FOR_IMPORTANCE = 10
BEST_TRIALS_WANTED = 5  # PED-ANOVA is steady from five trials above its quantile on
MAX_CHOICES = 24  # of a parameter that is not a number: more are not choices but texts


@dataclass(frozen=True)
class Parameters:
    """The trials that can be compared, as an Optuna study, and its parameters by the name that they have there.

    `rung` is where the trials are compared; `lacking` counts the trials without a parameter, where there are any.
    """

    study: optuna.Study
    trials: Sequence[Trial]
    names: Mapping[str, str]
    rung: int
    lacking: Mapping[str, int]


def parameters(record: StudyRecord) -> Parameters | None:
    """The parameters that vary over trials with comparable values; None where there are none."""
    rung, values = comparable(record, LEAST_FOR_IMPORTANCE)
    trials = [trial for trial in record.trials if trial.trial_id in values]
    known: dict[str, dict[int, Any]] = {}
    shapes: dict[str, BaseDistribution] = {}
    names: dict[str, str] = {}
    for key in record.parameters:
        found = {trial.trial_id: trial.params[key] for trial in trials if key in trial.params}
        shape, shown = _shape(found, key in record.log_parameters)
        if shape is not None:
            name = _unlike(plain(shorten(key, 40)), names)
            names[name], shapes[name], known[name] = key, shape, shown
    if not names:
        return None
    direction = record.metric.direction
    with _quiet():
        study = optuna.create_study(direction=direction)
        study.add_trials(
            [
                optuna.create_trial(
                    value=values[trial.trial_id],
                    params={name: known[name][trial.trial_id] for name in names if trial.trial_id in known[name]},
                    distributions={name: shapes[name] for name in names if trial.trial_id in known[name]},
                )
                for trial in trials
            ]
        )
    lacking = {name: len(trials) - len(known[name]) for name in names if len(known[name]) < len(trials)}
    return Parameters(study, trials, names, rung, lacking)


def importances(found: Parameters) -> dict[str, float]:
    """PED-ANOVA's importance of each parameter for being among the best, as shares of their sum, the largest first.

    S. Watanabe et al., PED-ANOVA, IJCAI 2023, arXiv:2304.10255. A parameter that not every trial has is weighed over
    the trials that have it. Empty below `LEAST_FOR_IMPORTANCE` trials.
    """
    count = len(found.trials)
    if count < LEAST_FOR_IMPORTANCE:
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, min(0.5, BEST_TRIALS_WANTED / count)))
    raw: dict[str, float] = {}
    with _quiet():
        for name in found.names:
            value = evaluator.evaluate(found.study, params=[name]).get(name, 0.0)
            raw[name] = value if math.isfinite(value) else 0.0
    total = sum(raw.values())
    return {name: raw[name] / total for name in sorted(raw, key=lambda name: -raw[name])} if total > 0 else {}


def by_importance(found: Parameters, shares: Mapping[str, float] | None = None) -> list[str]:
    """The names, the most important first; in the order of the record where there are too few trials to say."""
    shares = importances(found) if shares is None else shares
    return [*shares, *(name for name in found.names if name not in shares)]


def top_pair(found: Parameters, names: Sequence[str]) -> tuple[str, str] | None:
    """The two most important parameters that enough trials have both of."""
    for place, second in enumerate(names[1:], start=1):
        for first in names[:place]:
            lacking = found.lacking.get(first, 0) + found.lacking.get(second, 0)
            if len(found.trials) - lacking >= LEAST_FOR_IMPORTANCE:
                return min(first, second), max(first, second)  # as Optuna orders them
    return None


def few(found: Parameters, limit: int) -> Parameters:
    """The same with at most `limit` trials: the better half of them are the best, the others evenly spread."""
    if len(found.trials) <= limit:
        return found
    frozen = found.study.get_trials(deepcopy=False)
    maximize = found.study.direction is optuna.study.StudyDirection.MAXIMIZE
    best_first = sorted(range(len(frozen)), key=lambda place: frozen[place].value or 0.0, reverse=maximize)
    others = best_first[limit // 2 :]
    kept = sorted(best_first[: limit // 2] + [others[place] for place in thinned(len(others), limit - limit // 2)])
    with _quiet():
        study = optuna.create_study(direction=found.study.direction)
        study.add_trials([frozen[place] for place in kept])
    return Parameters(study, [found.trials[place] for place in kept], found.names, found.rung, found.lacking)


def _shape(values: Mapping[int, Any], log: bool) -> tuple[BaseDistribution | None, dict[int, Any]]:
    """The smallest distribution that holds the values, and the values in it; None where they do not vary."""
    if values and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values.values()):
        shown = {place: v for place, v in values.items() if math.isfinite(v) and abs(v) < 1e300}
        low, high = min(shown.values(), default=0), max(shown.values(), default=0)
        if low == high:
            return None, {}
        if all(isinstance(v, int) for v in shown.values()):
            return IntDistribution(low, high, log=log and low >= 1), shown
        return FloatDistribution(float(low), float(high), log=log and low > 0), shown
    labels: dict[str, str] = {}
    for value in values.values():
        text = param_text(value)
        if text not in labels.values():
            labels[_unlike(plain(shorten(text, 24)), labels)] = text
    if not 1 < len(labels) <= MAX_CHOICES:
        return None, {}
    of_text = {text: label for label, text in labels.items()}
    return CategoricalDistribution(sorted(labels)), {place: of_text[param_text(v)] for place, v in values.items()}


def _unlike(name: str, others: Mapping[str, Any]) -> str:
    """The name, with a number where another has become the same by shortening."""
    number, unique = 1, name
    while unique in others:
        number += 1
        unique = f"{name} ({number})"
    return unique


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna announces every study, and warns of what the report says in words."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
