"""YAML or a mapping, and layers of dotted overrides → one validated configuration.

The only place where either enters. All mistakes come in one `ConfigError`, each with its dotted path and,
for an unknown key, the nearest known one.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from trainer.config.keys import Key, config_class, known_keys, sections
from trainer.config.reference import is_reference
from trainer.config.registry import TASKS, find_task
from trainer.config.renames import CANONICAL_VALUES, RENAMES, assumed, canonical, combined
from trainer.config.settings import RunConfig
from trainer.config.yaml import parse_yaml, read_yaml
from trainer.errors import ConfigError, Problem, did_you_mean

_OLDER_SECTIONS = frozenset(old[: dot.start()] for old in RENAMES for dot in re.finditer(r"\.", old))
_KINDS: dict[str, tuple[type, ...]] = {"bool": (bool,), "str": (str,), "path": (str, Path), "list": (list, tuple)}
# Most values are of these types: fast paths for them.
_PLAIN = frozenset((type(None), bool, int, float, str))
_USUAL: dict[str, type] = {"bool": bool, "str": str, "path": str}
_NUMBER = re.compile(r"^[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?$")
Dotted = dict[str, Any]


def parse_assignments(words: Iterable[str]) -> Dotted:
    """`key=value` words of a command line → dotted overrides; values are read as YAML."""
    overrides: Dotted = {}
    problems: list[Problem] = []
    for assignment in words:
        key, sign, text = assignment.partition("=")
        key = key.strip()
        if not sign or not key:
            problems.append(Problem(assignment, "expected key=value, for example training.batch_size=16"))
        elif key in overrides:
            problems.append(Problem(key, "is set twice on the command line"))
        else:
            overrides[key] = parse_yaml(text, assignment)
    if problems:
        raise ConfigError(problems)
    return overrides


def read_config_file(path: Path) -> dict[str, Any]:
    """The mapping in a configuration file."""
    value = read_yaml(path)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ConfigError([Problem(str(path), f"expected a mapping of keys, found {_shortened(value)}")])
    return cast(dict[str, Any], value)


def task_of(*layers: Mapping[str, Any]) -> str:
    """The task that the last layer names which names one: a built-in task, or a reference that can be imported."""
    named = [layer["task"] for layer in layers if "task" in layer]
    if not named:
        raise ConfigError([Problem("task", f"is missing; name one of: {', '.join(TASKS)}")])
    task = str(named[-1])
    if task not in TASKS and not is_reference(task):
        known = f"; the tasks are {', '.join(TASKS)}, and package.module:object for one of your own"
        raise ConfigError([Problem("task", f"unknown task {named[-1]!r}{did_you_mean(task, TASKS, 0.75)}{known}")])
    find_task(task)
    return task


def canonical_overrides(layer: Mapping[str, Any], task: str, whole_file: bool = False) -> Dotted:
    """One layer (nested, dotted or mixed, in any accepted spelling) as canonical dotted keys.

    A `whole_file` is read as the older program read it; an override is taken literally. Raises `ConfigError` with
    every unknown key, misplaced section, wrong kind, or key given twice.
    """
    problems: list[Problem] = []
    dotted = _collect(layer, task, problems, whole_file)
    if problems:
        raise ConfigError(problems)
    return dotted


def assumptions(source: Mapping[str, Any], task: str, *layers: Mapping[str, Any]) -> list[str]:
    """Lines for the user: what an older file and the layers over it left open, and what is assumed."""
    return assumed([pair for layer in (source, *layers) for pair in _flatten(layer, "", task, [])], task)


def resolve_config(source: Mapping[str, Any], *layers: Mapping[str, Any]) -> RunConfig:
    """The configuration from a base mapping and layers of overrides, later ones winning."""
    task = task_of(source, *layers)
    problems: list[Problem] = []
    merged: Dotted = {}
    for layer in (source, *layers):
        _put_over(merged, _collect(layer, task, problems, whole_file=layer is source), task)
    merged["task"] = task
    config = _validate(task, merged, problems)
    if config is None or problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return config


def load_config(path: Path, *layers: Mapping[str, Any]) -> RunConfig:
    """`resolve_config` of a file; each mistake outside the overrides names the file."""
    try:
        return resolve_config(read_config_file(path), *layers)
    except ConfigError as error:
        overridden = {key for layer in layers for key in layer}
        raise ConfigError([_at(path, problem, overridden) for problem in error.problems]) from None


def _at(path: Path, problem: Problem, overridden: set[str]) -> Problem:
    # Where several keys of a section do not fit together, the wrong one may be in the file or in an override.
    overridden_here = any(key == problem.where or key.startswith(f"{problem.where}.") for key in overridden)
    if overridden_here or str(path) in problem.where:
        return problem
    return Problem(f"{path}: {problem.where}", problem.what)


def _put_over(merged: Dotted, layer: Dotted, task: str) -> None:
    """A later layer over earlier ones: a section set to null removes its keys, and a later key brings it back."""
    parts = sections(task)
    for key, value in layer.items():
        if key in parts:  # null or {}: a section
            below = [known for known in merged if known.startswith(f"{key}.")]
            if below and value == {}:
                continue  # the section is there, with keys of its own
            for earlier in below:
                del merged[earlier]
        for section in _sections_above(key):
            merged.pop(section, None)
        merged[key] = value


@cache
def _sections_above(key: str) -> tuple[str, ...]:
    return tuple(key[: dot.start()] for dot in re.finditer(r"\.", key))


def _collect(layer: Mapping[str, Any], task: str, problems: list[Problem], whole_file: bool) -> Dotted:
    """Canonical key → value; mistakes are appended to `problems` and left out."""
    keys, parts = known_keys(task), sections(task)
    collected: Dotted = {}
    spelt: dict[str, str] = {}
    for spelling, value in combined(_flatten(layer, "", task, problems), problems, whole_file):
        as_it_is = spelling in keys and spelling not in CANONICAL_VALUES
        for key, converted in ((spelling, value),) if as_it_is else canonical(spelling, value, task).items():
            if key in spelt:
                both = f"{spelt[key]} and {spelling}" if spelt[key] != spelling else spelling
                problems.append(Problem(spelling, f"is set twice ({both} are the same key)"))
                continue
            spelt[key] = spelling
            if key in keys:
                problem, converted = _of_kind(keys[key], converted)
                if problem:
                    problems.append(Problem(spelling, problem))
                    continue
            elif not (parts.get(key) and converted in (None, {})):
                problems.append(Problem(spelling, f"unknown key{_suggest(spelling, task)}"))
                continue
            collected[key] = converted
    return collected


def _flatten(layer: Mapping[str, Any], prefix: str, task: str, problems: list[Problem]) -> list[tuple[str, Any]]:
    keys, parts = known_keys(task), sections(task)
    flat: list[tuple[str, Any]] = []
    for name, value in layer.items():
        path = f"{prefix}{name}"
        if type(value) in _PLAIN and path in keys:
            flat.append((path, value))
            continue
        if path in parts and not isinstance(value, Mapping):
            if value is None and not parts[path]:
                continue  # an empty section in YAML has no effect
            if value is not None:
                example = next(key for key in keys if key.startswith(f"{path}."))
                what = f"is a section, not a value ({_shortened(value)}); set one of its keys, such as {example}"
                problems.append(Problem(path, what))
                continue
        if (value is None or value == {}) and path not in parts and path in _OLDER_SECTIONS:
            continue
        if isinstance(value, Mapping) and path in keys:
            problems.append(Problem(path, "is a value, not a section; it takes no keys of its own"))
        elif isinstance(value, Mapping) and (value or parts.get(path) is False):
            flat += _flatten(value, f"{path}.", task, problems)
        else:  # also {} for a section that may be null, with all its defaults
            flat.append((path, value))
    return flat


def _of_kind(key: Key, value: Any) -> tuple[str, Any]:
    """Checks a value's kind; numbers may come as text, whole floats may stand for integers."""
    if value is None:
        return ("" if key.nullable else f"must be {_kind_text(key)}, not null"), None
    if any(value is single for single in key.also) or type(value) is _USUAL.get(key.kind):
        return "", value
    if key.kind in ("int", "float") and not isinstance(value, bool):
        number = _number(value)
        if number is not None and (key.kind == "float" or float(number).is_integer()):
            return "", float(number) if key.kind == "float" else int(number)
    if key.kind == "choice":
        fits = any(value == choice and type(value) is type(choice) for choice in key.choices)
    else:
        fits = isinstance(value, _KINDS.get(key.kind, ()))
    if fits:
        return "", value
    return f"must be {_kind_text(key)}, not {_shortened(value)}{did_you_mean(str(value), key.choices)}", value


def _number(value: Any) -> int | float | None:
    """A finite number from a number or its text; None for anything else."""
    try:
        if isinstance(value, str) and _NUMBER.match(value.strip()):
            value = float(value) if re.search(r"[.eE]", value) else int(value)
        return value if isinstance(value, int | float) and math.isfinite(value) else None
    except (ValueError, OverflowError):  # `1__0`; a whole number beyond all floats
        return None


def _validate(task: str, merged: Dotted, problems: list[Problem]) -> RunConfig | None:
    """The typed configuration; None where it is not valid, and `problems` say why."""
    nested: dict[str, Any] = {"data": {}}
    for path, value in merged.items():
        *parents, name = path.split(".")
        node = nested
        for parent in parents:
            if node.get(parent) is None:
                node[parent] = {}
            node = node[parent]
        if name not in node or value not in (None, {}):
            node[name] = {} if value == {} else value
    try:
        return config_class(task)(**nested)
    except ValidationError as error:
        for item in error.errors():
            where = ".".join(str(part) for part in item["loc"])
            what = item["msg"].removeprefix("Value error, ")
            given = item["input"]
            shown_already = isinstance(given, dict | list) or (
                item["type"] == "value_error" and str(given) in what.split()
            )
            value = "" if shown_already else f", not {_shortened(given)}"
            problems.append(Problem(where or "configuration", f"{what[0].lower()}{what[1:]}{value}"))
        return None


def _suggest(key: str, task: str) -> str:
    keys = known_keys(task)
    last = key.rsplit(".", 1)[-1]
    if key in sections(task):
        return ": it is a section"
    same = [known for known in keys if known.rsplit(".", 1)[-1] == last]
    if not same:
        leaves = {known.rsplit(".", 1)[-1]: known for known in reversed(list(keys))}
        close = difflib.get_close_matches(key, [*keys, *RENAMES], n=1, cutoff=0.75)
        leaf = difflib.get_close_matches(last, leaves, n=1, cutoff=0.6)
        same = close or [leaves[name] for name in leaf]
        same = same or difflib.get_close_matches(key, keys, n=1, cutoff=0.0)
    best = max(same, key=lambda known: difflib.SequenceMatcher(None, key, known).ratio())
    new = next(iter(RENAMES[best](None))) if best in RENAMES else best
    return f"; did you mean {new}?"


def _kind_text(key: Key) -> str:
    names = {
        "int": "a whole number", "float": "a number", "bool": "true or false", "str": "text",
        "path": "a path", "list": "a list",
    }  # fmt: skip
    base = f"one of {', '.join(map(str, key.choices))}" if key.kind == "choice" else names[key.kind]
    base = " or ".join([base, *(str(single).lower() for single in key.also)])
    return f"{base} or null" if key.nullable else base


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
