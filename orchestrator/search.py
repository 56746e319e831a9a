"""Pruners by name, and the shadow study on which they are asked.

Optuna's own classes decide; they are fed in one place, on an in-memory study that mirrors the real one, so
that asking costs no database access and never disturbs what is recorded.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.api import ConfigError, Problem

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

STARTUP_TRIALS = 5


@dataclass(frozen=True)
class PrunerKind:
    """How a pruner is made, the options it takes with their defaults, and what it does in words."""

    make: Callable[[Mapping[str, Any]], BasePruner]
    options: Mapping[str, Any]
    words: str


def _median(options: Mapping[str, Any]) -> BasePruner:
    from optuna.pruners import MedianPruner

    return MedianPruner(options["n_startup_trials"], options["n_warmup_steps"])


def _percentile(options: Mapping[str, Any]) -> BasePruner:
    from optuna.pruners import PercentilePruner

    return PercentilePruner(options["percentile"], options["n_startup_trials"], options["n_warmup_steps"])


def _threshold(options: Mapping[str, Any]) -> BasePruner:
    from optuna.pruners import ThresholdPruner

    return ThresholdPruner(options["lower"], options["upper"], options["n_warmup_steps"])


def _patient(options: Mapping[str, Any]) -> BasePruner:
    from optuna.exceptions import ExperimentalWarning
    from optuna.pruners import PatientPruner

    with warnings.catch_warnings():  # that Optuna may change it some day is no news for who runs a study
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PatientPruner(_median(options), options["patience"], options["min_delta"])


_COMPARED = {"n_startup_trials": STARTUP_TRIALS, "n_warmup_steps": 0}

PRUNERS: dict[str, PrunerKind | None] = {
    "none": None,
    "median": PrunerKind(_median, _COMPARED, "worse than the median of completed trials at the same epoch"),
    "percentile": PrunerKind(
        _percentile, {"percentile": 25.0, **_COMPARED}, "outside the best share of completed trials at the same epoch"
    ),
    "threshold": PrunerKind(
        _threshold, {"lower": None, "upper": None, "n_warmup_steps": 0}, "outside fixed bounds at any epoch"
    ),
    "patient": PrunerKind(
        _patient, {"patience": 1, "min_delta": 0.0, **_COMPARED}, "below the median and without progress for a while"
    ),
}
NEEDS_COMPLETED = frozenset({"median", "percentile", "patient"})


def pruner_settings(said: Any, threshold: float | None, maximize: bool) -> dict[str, Any]:
    """The pruner's name and all its options, from a name or a mapping with `name`; `ConfigError` lists mistakes."""
    given = {"name": said} if isinstance(said, str) else dict(said) if isinstance(said, Mapping) else {}
    name = given.pop("name", None)
    if not isinstance(name, str) or name not in PRUNERS:
        raise ConfigError([Problem("pruner", f"unknown pruner {name or said!r}; known are {', '.join(PRUNERS)}")])
    kind = PRUNERS[name]
    options = dict(kind.options) if kind else {}
    problems = [
        Problem(f"pruner {name}", f"takes no option {key!r}; it takes {', '.join(options) or 'none'}")
        for key in given
        if key not in options
    ]
    problems += [
        Problem(f"pruner {name}", f"{key} must be {kind_words}, not {value!r}")
        for key, value in given.items()
        if key in options and (kind_words := _misfit(options[key], value))
    ]
    if problems:
        raise ConfigError(problems)
    options.update(given)
    if name == "threshold" and options["lower"] is None and options["upper"] is None:
        if threshold is None:
            what = "needs a bound: --early-stop-threshold X, or search.pruner {name: threshold, lower: X}"
            raise ConfigError([Problem("pruner threshold", what)])
        options["lower" if maximize else "upper"] = threshold
    if kind is not None:
        try:
            kind.make(options)
        except (ValueError, TypeError) as error:
            raise ConfigError([Problem(f"pruner {name}", str(error))]) from None
    return {"name": name, **options}


def _misfit(usual: Any, value: Any) -> str:
    """What an option must be, where a value is not that: whole numbers are those whose default is one."""
    whole = isinstance(usual, int)
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    return "" if is_number and math.isfinite(value) else "a whole number" if whole else "a number"


class PrunerOracle:
    """One Optuna pruner over a mirror of the study; trials are told in the order of their numbers."""

    def __init__(self, settings: Mapping[str, Any], maximize: bool) -> None:
        import optuna
        from optuna.storages import InMemoryStorage
        from optuna.study import StudyDirection

        kind = PRUNERS[settings["name"]]
        assert kind is not None, "a study without a pruner has no oracle"
        self._pruner = kind.make(settings)
        self._storage = InMemoryStorage()
        direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
        self._study = optuna.create_study(storage=self._storage, study_name="mirror", direction=direction)
        self._ids: dict[int, int] = {}

    def value(self, number: int, epoch: int, value: float) -> None:
        """An evaluation of trial `number`; the first one opens its mirror."""
        import optuna

        if number not in self._ids:
            running = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
            self._ids[number] = self._storage.create_new_trial(self._study._study_id, running)
        self._storage.set_trial_intermediate_value(self._ids[number], epoch, value)

    def completed(self, number: int, value: float) -> None:
        self._finish(number, "COMPLETE", [value])

    def dropped(self, number: int) -> None:
        """Pruned or failed: no longer running, and nothing to compare with."""
        self._finish(number, "PRUNED", None)

    def _finish(self, number: int, state: str, values: list[float] | None) -> None:
        from optuna.trial import TrialState

        if number in self._ids:
            self._storage.set_trial_state_values(self._ids[number], TrialState[state], values)

    def should_prune(self, number: int) -> bool:
        """What the pruner says after the trial's newest evaluation."""
        return self._pruner.prune(self._study, self._storage.get_trial(self._ids[number]))
