"""The search space of a trials file: dimensions with conditions, checked against the base configuration.

search_space:
  training.optimizer.type: {type: categorical, choices: [adamw, sgd]}
  training.optimizer.lr: {type: float, low: 1.0e-5, high: 1.0e-1, log: true}
  training.optimizer.momentum: {type: float, low: 0.0, high: 0.99, when: {training.optimizer.type: sgd}}
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from orchestrator.planning.mistakes import Mistakes
from orchestrator.study.ladder import refused_in_trials
from orchestrator.study.space import Dimension, Shape, Space, as_json, choices_of, circumstances
from trainer.api import ConfigError, Key, canonical_overrides, known_keys

KINDS: dict[str, tuple[str, ...]] = {
    "float": ("low", "high", "step", "log"),
    "int": ("low", "high", "step", "log"),
    "categorical": ("choices",),
}
_MOST_CHECKED = 64  # values of a dimension that are tried out on the base configuration
_LARGEST = 10**300

TryOut = Callable[..., object]


def read_space(
    specs: Mapping[str, Any], task: str, try_out: TryOut | None, fixed: Collection[str], where: str, mistakes: Mistakes
) -> Space:
    """The dimensions of a file, in its order; every mistake is collected with its dimension.

    `fixed` are the keys that the command line sets. `try_out` raises what is wrong with layers of overrides over the
    base; without it only the form is checked.
    """
    known = known_keys(task)
    earlier: dict[str, Dimension] = {}
    for name, spec in specs.items():
        place = f"{where}.{name}"
        key = _canonical(str(name), spec, task, place, mistakes)
        if key is None:
            continue
        before = len(mistakes.problems)
        for problem in _refusals(known[key], earlier, fixed):
            mistakes.add(place, problem)
        if not isinstance(spec, Mapping):
            mistakes.add(place, f"must be a mapping such as {{type: float, low: 0.1, high: 1.0}}, not {spec!r}")
        if len(mistakes.problems) > before:
            continue
        if isinstance(spec.get("choices"), list | tuple):
            spec = {**spec, "choices": [_canonical_value(str(name), value, task) for value in spec["choices"]]}
        for problem in _form(spec, known[key]):
            mistakes.add(place, problem)
        when = _when(spec.get("when", {}), str(name), earlier, specs, task, place, mistakes)
        if len(mistakes.problems) == before:
            dimension = Dimension(key, _shape(spec, known[key]), when)
            earlier[key] = dimension
            if try_out is not None:
                _try_values(dimension, earlier, try_out, place, mistakes)
    return tuple(earlier.values())


def _canonical(name: str, spec: Any, task: str, place: str, mistakes: Mistakes) -> str | None:
    """The canonical key of a name in any accepted spelling; None, and a mistake, where it names no key."""
    if name in known_keys(task):
        return name
    before = len(mistakes.problems)
    with mistakes.collected(place):
        key, _ = _pair(name, _some_value(spec), task)
        if key in known_keys(task):
            return key
    if len(mistakes.problems) == before:
        mistakes.add(place, "is not a key that can be searched")
    return None


def _some_value(spec: Any) -> Any:
    """One value of a dimension: older spellings are recognised by key and value."""
    choices = spec.get("choices") if isinstance(spec, Mapping) else None
    if isinstance(choices, list | tuple) and choices:
        return choices[0]
    return spec.get("low") if isinstance(spec, Mapping) else None


def _pair(name: str, value: Any, task: str) -> tuple[str, Any]:
    """The canonical key and value of a name in any accepted spelling; unchanged where it stands for several keys."""
    overrides = canonical_overrides({name: value}, task)
    return next(iter(overrides.items())) if len(overrides) == 1 else (name, value)


def _canonical_value(name: str, value: Any, task: str) -> Any:
    """A choice in canonical form; unchanged where it has none, which `try_out` reports."""
    with Mistakes().collected():
        return _pair(name, value, task)[1]
    return value


def _refusals(key: Key, earlier: Collection[str], fixed: Collection[str]) -> Iterator[str]:
    if refused_in_trials(key):
        yield "belongs to the budget or to the study and cannot be searched"
    if key.path in earlier:
        yield f"{key.path} is searched twice, under two spellings"
    if key.path in fixed:
        yield "is searched and set on the command line; set it once"


def _form(spec: Mapping[str, Any], key: Key) -> Iterator[str]:
    """What is wrong with a dimension by itself."""
    kind = spec.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        yield f"unknown type {kind!r}; known are {', '.join(KINDS)}"
        return
    for name in spec:
        if name not in (*KINDS[kind], "type", "when"):
            takes = ", ".join((*KINDS[kind], "when"))
            yield f"{name!r} does not belong to a dimension of type {kind}; it takes {takes}"
    if kind == "categorical":
        yield from _choices(spec)
    else:
        yield from _range(spec, kind, key)


def _choices(spec: Mapping[str, Any]) -> Iterator[str]:
    choices = spec.get("choices")
    if not isinstance(choices, list | tuple):
        yield "choices must be a list" if "choices" in spec else "choices are missing"
    elif not choices:
        yield "choices must not be empty"
    else:
        texts = [as_json(choice) for choice in choices]
        for text in dict.fromkeys(text for text in texts if texts.count(text) > 1):
            yield f"the choice {text} is listed twice"


def _range(spec: Mapping[str, Any], kind: str, key: Key) -> Iterator[str]:
    if key.kind not in ("float", "int"):
        yield f"is a key of kind {key.kind} and takes type categorical, not {kind}"
        return
    if key.kind == "int" and kind == "float":
        yield "is a whole number and takes type int"
    numbers: dict[str, float] = {}
    for name in ("low", "high", "step"):
        value = spec.get(name)
        if value is None and name != "step":
            yield f"{name} is missing"
        elif value is not None and not _is_number(value, kind):
            yield f"{name} must be {'a whole number' if kind == 'int' else 'a finite number'}, not {value!r}"
        elif value is not None:
            numbers[name] = value
    log = spec.get("log", False)
    if not isinstance(log, bool):
        yield f"log must be true or false, not {log!r}"
    low, high, step = numbers.get("low"), numbers.get("high"), numbers.get("step")
    if low is not None and high is not None and low >= high:
        yield f"low must be below high, not {low:g} and {high:g}"
    if log is True and low is not None and low <= 0:
        yield f"low must be above 0 on a log scale, not {low:g}"
    if step is not None and step <= 0:
        yield f"step must be above 0, not {step:g}"
    elif step is not None and log is True:
        yield "step and log exclude each other"
    elif step is not None and low is not None and high is not None and step > high - low > 0:
        yield f"step {step:g} is larger than the range from {low:g} to {high:g}"


def _is_number(value: Any, kind: str) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST
    return whole or (kind == "float" and isinstance(value, float) and math.isfinite(value))


def _when(
    when: Any,
    own: str,
    earlier: Mapping[str, Dimension],
    specs: Mapping[str, Any],
    task: str,
    place: str,
    mistakes: Mistakes,
) -> dict[str, tuple[Any, ...]]:
    """The conditions of the dimension `own`: only on dimensions above it, and on values that these can take."""
    if not isinstance(when, Mapping):
        mistakes.add(place, f"when must be a mapping of an earlier dimension to its value or values, not {when!r}")
        return {}
    names = [str(name) for name in specs]
    conditions: dict[str, tuple[Any, ...]] = {}
    for name, values in when.items():
        here = f"{place}.when.{name}"
        listed = values if isinstance(values, list | tuple) else (values,)
        key = _searched_as(str(name), listed, earlier, task)
        if key not in earlier:
            if name in names[names.index(own) :]:
                mistakes.add(here, "is a later dimension; a condition needs an earlier one")
            elif name not in names:  # else it is above, and its own mistakes are reported
                mistakes.add(here, "is not a searched key")
            continue
        if not listed:
            mistakes.add(here, "names no value")
        allowed = tuple(_canonical_value(str(name), value, task) for value in listed)
        for value in allowed:
            if not _possible(earlier[key].shape, value):
                mistakes.add(here, f"{as_json(value)} is not a value that {key} can take")
        conditions[key] = allowed
    return conditions


def _searched_as(name: str, values: Sequence[Any], earlier: Mapping[str, Dimension], task: str) -> str:
    """The canonical key that a condition names in any accepted spelling."""
    if name not in earlier:
        with Mistakes().collected():
            return _pair(name, values[0] if values else None, task)[0]
    return name


def _possible(shape: Shape, value: Any) -> bool:
    if shape["type"] == "categorical":
        return any(type(value) is type(choice) and value == choice for choice in shape["choices"])
    if shape["type"] == "json":
        return as_json(value) in shape["choices"]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return bool(is_number and shape["low"] <= value <= shape["high"])


def _shape(spec: Mapping[str, Any], key: Key) -> Shape:
    """The distribution of a checked dimension, as plain data. A range with a step ends on its grid."""
    kind = spec["type"]
    if kind == "categorical":
        choices = list(spec["choices"])
        plain = all(isinstance(choice, bool | int | float | str) for choice in choices) and not key.nullable
        if plain:
            return {"type": "categorical", "choices": choices}
        return {"type": "json", "choices": [as_json(choice) for choice in choices]}
    low, high, step = spec["low"], spec["high"], spec.get("step")
    if kind == "float":
        low, high = float(low), float(high)
    if step is not None:
        steps = math.floor((high - low) / step + 1e-9)
        high = type(high)(Decimal(repr(low)) + steps * Decimal(repr(step)))  # 0.1 + 2 × 0.1 is 0.3
    shape = {"type": kind, "low": low, "high": high, "log": bool(spec.get("log", False))}
    return {**shape, "step": step} if step is not None else shape


def _try_values(
    dimension: Dimension, earlier: Mapping[str, Dimension], try_out: TryOut, place: str, mistakes: Mistakes
) -> None:
    """Tries both ends of a range, or each choice, on the base, so that a broken constraint is an error now."""
    shape = dimension.shape
    if shape["type"] in ("categorical", "json"):
        probes = [(f"choice {as_json(value)}", value) for value in choices_of(shape)[:_MOST_CHECKED]]
    else:
        probes = [("low", shape["low"]), ("high", shape["high"])]
    several = itertools.product(circumstances(dimension, earlier), probes)
    for around, (label, value) in itertools.islice(several, _MOST_CHECKED):
        try:
            try_out(around, {dimension.key: value})
        except ConfigError as error:
            joint = any(problem.where != dimension.key for problem in error.problems)
            mistakes.take(error, f"{place}: {label}{', with the base values of the other keys' if joint else ''}")
