"""From the schema's keys to Optuna's distributions.

A distribution comes from the key (kind, bounds, log scale), never from the values in a list: Optuna refuses a
distribution that changes later, and a longer list must not be another study. Keys without such a shape
(text, paths, lists, and whatever may be null) are categorical over JSON strings of the values planned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer.api import Key

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Shape = dict[str, Any]


def shape_of(key: Key, values: Sequence[Any]) -> Shape:
    """A distribution as plain data, to be frozen in the plan. `values` matter only where the schema has no bounds."""
    if not key.nullable and key.kind in ("int", "float") and key.low is not None and key.high is not None:
        low = int(key.low) if key.kind == "int" else key.low
        high = int(key.high) if key.kind == "int" else key.high
        return {"type": key.kind, "low": low, "high": high, "log": key.log and low > 0}
    if not key.nullable and key.kind == "bool":
        return {"type": "categorical", "choices": [False, True]}
    if not key.nullable and key.kind == "choice":
        return {"type": "categorical", "choices": list(key.choices)}
    return {"type": "json", "choices": sorted({as_json(value) for value in values})}


def as_json(value: Any) -> str:
    """One text for one value, whatever order its keys were written in."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def distribution(shape: Mapping[str, Any]) -> BaseDistribution:
    """Optuna's object for a frozen shape."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if shape["type"] == "float":
        return FloatDistribution(shape["low"], shape["high"], log=shape["log"])
    if shape["type"] == "int":
        return IntDistribution(shape["low"], shape["high"], log=shape["log"])
    return CategoricalDistribution(shape["choices"])


def optuna_value(shape: Mapping[str, Any], value: Any) -> tuple[bool, Any]:
    """Whether a value lies inside a shape, and the value as Optuna stores it."""
    if shape["type"] == "json":
        text = as_json(value)
        return text in shape["choices"], text
    if shape["type"] == "categorical":
        return value in shape["choices"], value
    inside = isinstance(value, int | float) and shape["low"] <= value <= shape["high"]
    return inside, value
