"""Samplers that follow one order, fixed by the study's seed: a grid, and a quasi-random sequence."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from orchestrator.samplers.sampler import SamplerKind
from orchestrator.study.space import Dimension, Space, as_json, choices_of
from orchestrator.study.state import StudyState
from trainer.api import Problem

LARGEST_GRID = 100_000


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


def _grid_problems(space: Space) -> Iterator[Problem]:
    endless = [d for d in space if d.shape["type"] == "float" and "step" not in d.shape]
    for dimension in endless:
        yield Problem(f"sampler grid: {dimension.key}", "needs a step, or a list of choices")
    if not endless and grid_size(space) > LARGEST_GRID:
        yield Problem("sampler grid", f"the grid has {grid_size(space)} points; at most {LARGEST_GRID} are walked")


GRID = SamplerKind(
    "every point of a grid, in random order",
    lambda setting: GridSampler(setting.space, setting.seed),
    problems=_grid_problems,
    size=lambda space: len(GridSampler(space, 0).points),
)
QUASI_RANDOM = SamplerKind(
    "quasi-random Sobol sequence", lambda setting: QuasiRandomSampler(setting.space, setting.seed)
)
