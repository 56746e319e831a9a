"""Samplers: what configuration to try next. Each proposal follows from the study's seed and state alone.

Optuna's are asked on a shadow study, a fresh one for every trial, seeded from (study seed, trial number). A grid and
a quasi-random sequence are one fixed order under the study's seed, walked by how many were drawn before.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from orchestrator.planning.search_space import Dimension, Space
from orchestrator.planning.settings import SAMPLERS
from orchestrator.study.distributions import as_json, choices_of, external_value
from orchestrator.study.state import StudyState

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

    from orchestrator.samplers.shadow import ShadowStudy

ValuesOf = Callable[[Mapping[str, Any]], Mapping[str, Any]]
LARGEST_GRID = 100_000


class Sampler(Protocol):
    """Proposes the searched keys of one trial; inactive ones are left out."""

    def propose(self, number: int, state: StudyState) -> Mapping[str, Any] | None:
        """For the trial that will have this number; None where nothing is left to propose."""
        ...


def make_sampler(settings: Mapping[str, Any], space: Space, seed: int, maximize: bool, values_of: ValuesOf) -> Sampler:
    """The sampler of these settings. `values_of` gives a configuration's value for every active key."""
    name = settings["name"]
    if name == "grid":
        return GridSampler(space, seed)
    if name == "qmc":
        return QuasiRandomSampler(space, seed)
    from orchestrator.samplers.shadow import ShadowStudy  # imports Optuna, for which a plan should not wait

    kind = SAMPLERS[name]
    make = kind.make
    assert make is not None, "an order of ours stands above"
    shadow = ShadowStudy(space, maximize, values_of, kind.as_completed, settings.get("n_startup_trials", 1))
    return OptunaSampler(lambda seed: make(settings, seed), shadow, space, seed, kind.learns)


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


class GridSampler:
    """Every point of the grid once, in an order fixed by the study's seed."""

    def __init__(self, space: Space, seed: int) -> None:
        points: dict[str, dict[str, Any]] = {}
        for values in itertools.product(*(grid_values(dimension) for dimension in space)):
            point: dict[str, Any] = {}
            for dimension, value in zip(space, values, strict=True):
                if dimension.active(point):
                    point[dimension.key] = value
            points.setdefault(as_json(point), point)
        self.points = list(points.values())
        self._order = np.random.default_rng(seed).permutation(len(self.points))

    def propose(self, number: int, state: StudyState) -> Mapping[str, Any] | None:
        drawn = state.drawn()
        return self.points[self._order[drawn]] if drawn < len(self.points) else None


def grid_size(space: Space) -> int:
    """Points of the grid, before those that conditions make equal are joined; `ValueError` as for `grid_values`."""
    return math.prod(_count(dimension) for dimension in space)


def grid_values(dimension: Dimension) -> list[Any]:
    """The values of a dimension on a grid; `ValueError` for a range without steps."""
    if dimension.shape["type"] in ("categorical", "json"):
        return choices_of(dimension.shape)
    return [_grid_value(dimension, index) for index in range(_count(dimension))]


def _count(dimension: Dimension) -> int:
    shape = dimension.shape
    if "choices" in shape:
        return len(shape["choices"])
    step = shape.get("step", 1 if shape["type"] == "int" else None)
    if step is None:
        raise ValueError("a grid needs a step, or a list of choices")
    steps: float = (shape["high"] - shape["low"]) / step
    return math.floor(steps + 1e-9) + 1


def _grid_value(dimension: Dimension, index: int) -> Any:
    shape = dimension.shape
    return min(shape["low"] + index * shape.get("step", 1), shape["high"])


class QuasiRandomSampler:
    """A scrambled Sobol sequence (Owen 1998, scipy's), mapped onto the space; covers it more evenly than chance."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed

    def propose(self, number: int, state: StudyState) -> Mapping[str, Any]:
        from scipy.stats import qmc

        engine = qmc.Sobol(len(self._space), scramble=True, seed=np.random.default_rng(self._seed))
        drawn = state.drawn()
        if drawn:
            engine.fast_forward(drawn)
        with warnings.catch_warnings():  # one point at a time is no power of two
            warnings.simplefilter("ignore", UserWarning)
            point = engine.random(1)[0]
        found: dict[str, Any] = {}
        for dimension, share in zip(self._space, point, strict=True):
            if dimension.active(found):
                found[dimension.key] = value_at(dimension, float(share))
        return found


def value_at(dimension: Dimension, share: float) -> Any:
    """The value at a share in [0, 1) of a dimension's range, by its scale."""
    shape = dimension.shape
    if shape["type"] in ("categorical", "json"):
        choices = choices_of(shape)
        return choices[min(int(share * len(choices)), len(choices) - 1)]
    low, high, step = shape["low"], shape["high"], shape.get("step")
    if shape["log"]:
        # Half a unit beyond either end, so that both whole ends get their share.
        margin = 0.5 if shape["type"] == "int" else 0.0
        ends = math.log(low - margin), math.log(high + margin)
        value = math.exp(ends[0] + share * (ends[1] - ends[0]))
        return min(max(round(value) if shape["type"] == "int" else value, low), high)
    if shape["type"] == "int" or step is not None:
        return _grid_value(dimension, min(int(share * _count(dimension)), _count(dimension) - 1))
    return low + share * (high - low)
