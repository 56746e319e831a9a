"""Optuna's samplers, asked on a shadow study: a fresh one for every trial, seeded from (study seed, trial number)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
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
    """One of Optuna's, made anew for each trial by `make(seed)`; one that `learns` is shown the trials before."""

    def __init__(
        self, make: Callable[[int], BaseSampler], shadow: ShadowStudy, space: Space, seed: int, learns: bool
    ) -> None:
        self._make, self._shadow, self._space, self._seed, self._learns = make, shadow, space, seed, learns

    def propose(self, number: int, state: StudyState) -> Mapping[str, Any]:
        if self._learns:
            self._shadow.show(state)
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():  # that Optuna may change a sampler some day is no news for who runs a study
            warnings.simplefilter("ignore")
            self._shadow.study.sampler = self._make(seed)
            asked = self._shadow.study.ask()
            found: dict[str, Any] = {}
            for dimension in self._space:
                if dimension.active(found):
                    found[dimension.key] = external_value(dimension.shape, _suggest(asked, dimension))
        return found


def _suggest(trial: Trial, dimension: Dimension) -> Any:
    shape, key = dimension.shape, dimension.key
    if shape["type"] == "float":
        return trial.suggest_float(key, shape["low"], shape["high"], step=shape.get("step"), log=shape["log"])
    if shape["type"] == "int":
        return trial.suggest_int(key, shape["low"], shape["high"], step=shape.get("step", 1), log=shape["log"])
    return trial.suggest_categorical(key, shape["choices"])


def _sampler(make: Make, setting: Setting, learns: bool = True, as_completed: bool = False) -> Sampler:
    """`learns`: it looks at the trials before; `as_completed`: only at completed ones, so that a paused one is shown
    to it as completed."""
    from orchestrator.samplers.shadow import ShadowStudy  # imports Optuna, for which a plan should not wait

    enough = setting.options.get("n_startup_trials", 1)
    shadow = ShadowStudy(setting.space, setting.metric, setting.values_of, as_completed, enough)
    return OptunaSampler(partial(make, setting.options), shadow, setting.space, setting.seed, learns)


def _random(_options: Options, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed)


def _tpe(options: Options, seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(
        n_startup_trials=options["n_startup_trials"],
        multivariate=options["multivariate"],
        group=options["multivariate"],  # conditional dimensions are modelled in groups
        constant_liar=True,  # what runs in other slots counts as tried
        seed=seed,
    )


def _gp(options: Options, seed: int) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=options["n_startup_trials"])


RANDOM = SamplerKind("at random", partial(_sampler, _random, learns=False))
# Jointly over all dimensions: it finds interactions, and asks once a trial where it would ask once a dimension.
TPE = SamplerKind(
    "tree-structured Parzen estimator", partial(_sampler, _tpe), {"n_startup_trials": 10, "multivariate": True}
)
GP = SamplerKind("Gaussian process", partial(_sampler, _gp, as_completed=True), {"n_startup_trials": 10})
