"""Optuna's samplers, on a shadow study: a new sampler for every trial, seeded from (study seed, trial number)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.samplers.sampler import Options, Sampler, SamplerKind, Setting
from orchestrator.study.space import Dimension, Space, external_value
from orchestrator.study.state import StudyState

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

    from orchestrator.samplers.shadow import ShadowStudy

Make = Callable[[Options, int], "BaseSampler"]


class OptunaSampler:
    """One of Optuna's samplers, created for each trial by `make(seed)`; where it `learns`, earlier trials are shown."""

    def __init__(
        self, make: Callable[[int], BaseSampler], shadow: ShadowStudy, space: Space, seed: int, learns: bool
    ) -> None:
        self._make, self._shadow, self._space, self._seed, self._learns = make, shadow, space, seed, learns

    def propose(self, number: int, state: StudyState) -> Mapping[str, Any]:
        if self._learns:
            self._shadow.show(state)
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():  # users of a study need not know that Optuna may change a sampler
            warnings.simplefilter("ignore")
            self._shadow.study.sampler = self._make(seed)
            asked = self._shadow.study.ask()
            values: dict[str, Any] = {}
            for dimension in self._space:
                if dimension.active(values):
                    values[dimension.key] = external_value(dimension.shape, _suggest(asked, dimension))
        return values


def _suggest(trial: Trial, dimension: Dimension) -> Any:
    shape, key = dimension.shape, dimension.key
    if shape["type"] == "float":
        return trial.suggest_float(key, shape["low"], shape["high"], step=shape.get("step"), log=shape["log"])
    if shape["type"] == "int":
        return trial.suggest_int(key, shape["low"], shape["high"], step=shape.get("step", 1), log=shape["log"])
    return trial.suggest_categorical(key, shape["choices"])


def _sampler(make: Make, setting: Setting, learns: bool = True, as_completed: bool = False) -> Sampler:
    """`learns`: it uses earlier trials. `as_completed`: it uses only completed ones, so paused trials are shown to it
    as completed."""
    from orchestrator.samplers.shadow import ShadowStudy  # imports Optuna, which takes long and `plan` does not need

    enough = setting.options.get("n_startup_trials", 1)
    shadow = ShadowStudy(setting.space, setting.metric, setting.values_of, as_completed, enough)
    return OptunaSampler(partial(make, setting.options), shadow, setting.space, setting.seed, learns)


def _made(name: str, options: Options, seed: int) -> BaseSampler:
    """A sampler of Optuna by its class; our options have the names of its arguments."""
    arguments = {option: value for option, value in options.items() if option != "name"}
    sampler: BaseSampler = resolve_name(f"optuna.samplers:{name}")(seed=seed, **arguments)
    return sampler


def _tpe(options: Options, seed: int) -> BaseSampler:
    # Conditional dimensions are modelled in groups. Running trials count, so that slots do not try the same.
    return _made("TPESampler", {**options, "group": options["multivariate"], "constant_liar": True}, seed)


RANDOM = SamplerKind("at random", partial(_sampler, partial(_made, "RandomSampler"), learns=False))
# Multivariate: it models interactions, and samples once per trial and not once per dimension.
TPE = SamplerKind(
    "tree-structured Parzen estimator", partial(_sampler, _tpe), {"n_startup_trials": 10, "multivariate": True}
)
GP = SamplerKind(
    "Gaussian process", partial(_sampler, partial(_made, "GPSampler"), as_completed=True), {"n_startup_trials": 10}
)
