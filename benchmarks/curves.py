"""Learning curves to search on: two data sets, one kind of problem.

- LCBench (Zimmer, Lindauer, Hutter, arXiv 2006.13799) through the surrogate of YAHPO Gym (Pfisterer, Schneider et al.,
  arXiv 2109.03670): a folder with `model.onnx`, `encoding.json` and `config_space.json`; an instance is a task's id, a
  value the validation accuracy in percent.
- TaskSet (Metz et al., arXiv 2002.11887) as recorded trainings: a folder with one JSON file a task, an instance is the
  file's stem, a value 100 · (1 − min(validation loss, 1)); a diverged loss counts as 1. A configuration is answered
  by the nearest recorded row, by Euclidean distance in the unit cube.

Values are larger for better throughout.

The best known value of a TaskSet task is its best row, the median of random the median over all rows. The best known
value of a LCBench task is the best of the surrogate over `SAMPLE` random configurations and a refinement of the
`KEPT` best of them: `ROUNDS` rounds of Gaussian steps in the unit cube, shorter from round to round. The generator's
seed is fixed, so that the figure belongs to the model file. The median of random is the one of the same sample.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

Array = NDArray[np.float64]
Params = Mapping[str, float]

LCBENCH_FILES = ("model.onnx", "encoding.json", "config_space.json")
LCBENCH_INPUTS = (
    "batch_size",
    "learning_rate",
    "momentum",
    "weight_decay",
    "num_layers",
    "max_units",
    "max_dropout",
)  # the order of the model's columns, after the epoch
SAMPLE, KEPT, ROUNDS, STEPS, BATCH = 40_000, 32, 24, 512, 4_000


class DataError(ValueError):
    """The data folder, or an instance in it, is not what was asked for."""


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter. Its unit coordinate is linear, or linear in the logarithm."""

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False

    def distribution(self) -> BaseDistribution:
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def to_unit(self, values: Array) -> Array:
        values = np.clip(values, self.low, self.high)
        if self.log:
            return np.asarray(np.log(values / self.low) / math.log(self.high / self.low))
        return (values - self.low) / (self.high - self.low)

    def from_unit(self, unit: Array) -> Array:
        if self.log:
            values = self.low * np.exp(unit * math.log(self.high / self.low))
        else:
            values = self.low + unit * (self.high - self.low)
        return np.clip(np.round(values) if self.integer else values, self.low, self.high)


@dataclass(frozen=True)
class Scale:
    """What regret is measured against."""

    best_known: float
    median_random: float

    def regret(self, value: float) -> float:
        """0 at the best known, 1 at the median of random; under 0 only where a surrogate's best was not yet known."""
        span = self.best_known - self.median_random
        return (self.best_known - value) / span if span > 0 else 0.0


class Problem(ABC):
    """One instance. `curve` is timed, so that a method's own seconds can be told from the data's."""

    def __init__(self, instance: str, dimensions: tuple[Dimension, ...], full_epochs: int) -> None:
        self.instance = instance
        self.dimensions = dimensions
        self.full_epochs = full_epochs
        self.seconds = 0.0

    @abstractmethod
    def _curve(self, params: Params) -> Array: ...

    @abstractmethod
    def _scale(self) -> Scale: ...

    @cached_property
    def scale(self) -> Scale:
        return self._scale()

    def curve(self, params: Params) -> Array:
        """The values after epochs 1 … `full_epochs`: [epochs]."""
        started = time.perf_counter()
        values = self._curve(params)
        self.seconds += time.perf_counter() - started
        return values

    def distributions(self) -> dict[str, BaseDistribution]:
        return {dimension.name: dimension.distribution() for dimension in self.dimensions}


class Surrogate(Problem):
    """A LCBench task; the session is shared by all tasks of a folder."""

    def __init__(
        self, instance: str, code: int, session: Any, dimensions: tuple[Dimension, ...], full_epochs: int
    ) -> None:
        super().__init__(instance, dimensions, full_epochs)
        self._code, self._session = code, session

    def _curve(self, params: Params) -> Array:
        row = np.array([params[dimension.name] for dimension in self.dimensions])
        return self._values(np.tile(row, (self.full_epochs, 1)), np.arange(1.0, self.full_epochs + 1))

    def _values(self, rows: Array, epochs: Array) -> Array:
        """Validation accuracy of rows [n, dimensions] at epochs [n]."""
        continuous = np.column_stack([epochs, rows]).astype(np.float32)
        codes = np.full((len(rows), 1), self._code, dtype=np.int32)
        return np.asarray(self._session.run(None, {"x_cat": codes, "x_cont": continuous})[0][:, 1], dtype=np.float64)

    def _final(self, unit: Array) -> Array:
        """Values in full training of points of the unit cube [n, dimensions]."""
        rows = np.column_stack([d.from_unit(unit[:, i]) for i, d in enumerate(self.dimensions)])
        parts = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
        return np.concatenate([self._values(part, np.full(len(part), float(self.full_epochs))) for part in parts])

    def _scale(self) -> Scale:
        random = np.random.default_rng(0)
        points = random.random((SAMPLE, len(self.dimensions)))
        values = self._final(points)
        median = float(np.median(values))
        points, values = _best(points, values)
        for width in np.geomspace(0.2, 0.005, ROUNDS):
            parents = points[random.integers(len(points), size=STEPS)]
            near = np.clip(parents + width * random.standard_normal(parents.shape), 0.0, 1.0)
            points, values = _best(np.vstack([points, near]), np.concatenate([values, self._final(near)]))
        return Scale(float(values[0]), median)


def _best(points: Array, values: Array) -> tuple[Array, Array]:
    order = np.argsort(-values, kind="stable")[:KEPT]
    return points[order], values[order]


class Recorded(Problem):
    """A TaskSet task: `rows` are unit coordinates [n, dimensions], `values` the curves [n, epochs]."""

    def __init__(self, instance: str, dimensions: tuple[Dimension, ...], rows: Array, values: Array) -> None:
        super().__init__(instance, dimensions, values.shape[1])
        self._rows, self._values = rows, values

    def _curve(self, params: Params) -> Array:
        unit = np.array([float(d.to_unit(np.array(params[d.name]))) for d in self.dimensions])
        return np.asarray(self._values[int(np.argmin(((self._rows - unit) ** 2).sum(axis=1)))])

    def _scale(self) -> Scale:
        final = self._values[:, -1]
        return Scale(float(final.max()), float(np.median(final)))


# The betas are searched as their distance from one.
TASKSET_SPACE = (
    Dimension("learning_rate", 1e-8, 10.0, log=True),
    Dimension("one_minus_beta1", 1e-4, 1.0, log=True),
    Dimension("one_minus_beta2", 1e-6, 1.0, log=True),
    Dimension("epsilon", 1e-10, 1e3, log=True),
    Dimension("l1", 1e-8, 10.0, log=True),
    Dimension("l2", 1e-8, 10.0, log=True),
    Dimension("linear_decay", 1e-7, 1e-4, log=True),
    Dimension("exponential_decay", 1e-6, 1e-3, log=True),
)


def open_problems(folder: Path, instances: list[str]) -> list[Problem]:
    """The instances of a data folder, whose format is known by its files. Every unknown instance is named at once."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    if all((folder / name).is_file() for name in LCBENCH_FILES):
        return _open_lcbench(folder, instances)
    tasks = {path.stem: path for path in sorted(folder.glob("*.json")) if path.name not in LCBENCH_FILES}
    if not tasks:
        raise DataError(f"{folder} holds neither {', '.join(LCBENCH_FILES)} nor JSON files of recorded trainings")
    _check(folder, instances, list(tasks))
    return [_open_taskset(tasks[instance]) for instance in instances]


def _check(folder: Path, asked: list[str], known: list[str]) -> None:
    unknown = [instance for instance in asked if instance not in known]
    if unknown:
        raise DataError(f"no instance {', '.join(unknown)} in {folder}; it holds {', '.join(known)}")


def _open_lcbench(folder: Path, instances: list[str]) -> list[Problem]:
    encoding = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
    space = {one["name"]: one for one in json.loads((folder / "config_space.json").read_text())["hyperparameters"]}
    _check(folder, instances, [task for task in space["OpenML_task_id"]["choices"] if task in encoding])
    dimensions = tuple(
        Dimension(name, one["lower"], one["upper"], bool(one["log"]), one["type"] == "uniform_int")
        for name, one in ((name, space[name]) for name in LCBENCH_INPUTS)
    )
    try:
        import onnxruntime
    except ImportError as error:
        raise DataError("this data set needs onnxruntime: python -m pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # batches are small: threads only disturb timings
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    full = int(space["epoch"]["upper"])
    return [Surrogate(instance, int(encoding[instance]), session, dimensions, full) for instance in instances]


def _open_taskset(path: Path) -> Problem:
    try:
        records = json.loads(path.read_text())
        columns = {name: np.array([one["hp"][name] for one in records], dtype=float) for name in records[0]["hp"]}
        losses = np.array([one["valid"]["loss"] for one in records], dtype=float)  # null becomes nan
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path} does not hold recorded trainings: {type(error).__name__}: {error}") from error
    columns |= {f"one_minus_{name}": 1.0 - columns[name] for name in ("beta1", "beta2")}
    rows = np.column_stack([dimension.to_unit(columns[dimension.name]) for dimension in TASKSET_SPACE])
    scores = 100.0 * (1.0 - np.minimum(np.where(np.isnan(losses), 1.0, losses), 1.0))
    return Recorded(path.stem, TASKSET_SPACE, rows, scores[:, 1:])  # index 0 is before training
