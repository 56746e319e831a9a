"""The search space: dimensions with conditions, and their distributions as plain data.

A distribution follows from the key (kind, bounds, log scale), never from the values in a list: Optuna refuses a
distribution that changes later, and a longer list must still be the same study. Keys without a natural distribution
(text, paths, lists, and keys that may be null) are categorical over the planned values as JSON strings.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.api import Key

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Shape = dict[str, Any]
_ON_GRID = 1e-8


def shape_of(key: Key, values: Sequence[Any]) -> Shape:
    """A key's distribution as plain data, as the plan keeps it. `values` are used only where the key has no bounds."""
    if not key.nullable and key.kind in ("int", "float") and key.low is not None and key.high is not None:
        low = int(key.low) if key.kind == "int" else key.low
        high = int(key.high) if key.kind == "int" else key.high
        return {"type": key.kind, "low": low, "high": high, "log": key.log and low > 0}
    if not key.nullable and key.kind == "bool":
        return {"type": "categorical", "choices": [False, True]}
    if not key.nullable and key.kind == "choice":
        return {"type": "categorical", "choices": list(key.choices)}
    return {"type": "json", "choices": sorted({as_json(value) for value in values})}


def choices_of(shape: Shape) -> list[Any]:
    """The values of a categorical shape."""
    return [json.loads(text) for text in shape["choices"]] if shape["type"] == "json" else list(shape["choices"])


def varies(shape: Shape) -> bool:
    """Whether a distribution has more than one value."""
    return len(shape["choices"]) > 1 if "choices" in shape else bool(shape["low"] < shape["high"])


def as_json(value: Any) -> str:
    """A value as JSON text that does not depend on the order of its keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def distribution(shape: Mapping[str, Any]) -> BaseDistribution:
    """Optuna's distribution object for a shape."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if shape["type"] == "float":
        return FloatDistribution(shape["low"], shape["high"], log=shape["log"], step=shape.get("step"))
    if shape["type"] == "int":
        return IntDistribution(shape["low"], shape["high"], log=shape["log"], step=shape.get("step", 1))
    return CategoricalDistribution(shape["choices"])


def optuna_value(shape: Mapping[str, Any], value: Any) -> tuple[bool, Any]:
    """Whether a value belongs to a shape, and the value in the form in which Optuna stores it."""
    if shape["type"] == "json":
        text = as_json(value)
        return text in shape["choices"], text
    if shape["type"] == "categorical":
        return any(type(value) is type(choice) and value == choice for choice in shape["choices"]), value
    if not isinstance(value, int | float) or not shape["low"] <= value <= shape["high"]:
        return False, value
    steps = (value - shape["low"]) / shape["step"] if "step" in shape else 0.0
    return abs(steps - round(steps)) < _ON_GRID, value


def external_value(shape: Mapping[str, Any], stored: Any) -> Any:
    """The value of a key from the form in which Optuna stores it."""
    return json.loads(stored) if shape["type"] == "json" else stored


def shape_words(shape: Mapping[str, Any]) -> str:
    """A distribution as text: `1e-05 to 0.1, log scale`."""
    if "choices" in shape:
        return "of " + ", ".join(str(choice) for choice in shape["choices"])
    step = f" in steps of {shape['step']:g}" if "step" in shape else ""
    return f"{shape['low']:g} to {shape['high']:g}{step}{', log scale' if shape['log'] else ''}"


@dataclass(frozen=True)
class Dimension:
    """One searched key: its distribution as plain data, and the values of other keys that make it active (`when`)."""

    key: str
    shape: Shape
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def active(self, values: Mapping[str, Any]) -> bool:
        """Whether the values of the other keys make this one active."""
        return all(key in values and values[key] in allowed for key, allowed in self.when.items())

    def plain(self) -> dict[str, Any]:
        when = {key: list(values) for key, values in self.when.items()}
        return {"key": self.key, "shape": dict(self.shape), "when": when}


Space = tuple[Dimension, ...]


def space_from_plain(dimensions: Sequence[Mapping[str, Any]]) -> Space:
    """The space in a `plan.yaml`."""
    return tuple(
        Dimension(part["key"], part["shape"], {key: tuple(values) for key, values in part["when"].items()})
        for part in dimensions
    )


def circumstances(dimension: Dimension, others: Mapping[str, Dimension]) -> Iterator[dict[str, Any]]:
    """Values of other dimensions that make this one active: every combination that its `when` allows, each with one
    combination that makes those dimensions active."""
    needed: dict[str, Any] = {}
    for key in dimension.when:
        needed |= next(circumstances(others[key], others))
    for values in itertools.product(*dimension.when.values()):
        yield {**needed, **dict(zip(dimension.when, values, strict=True))}
