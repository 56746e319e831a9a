"""One layer of a configuration in any accepted spelling → canonical keys with values of their kind."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainer.config.keys import Key, known_keys, sections
from trainer.config.renames import RENAMES, Pairs, canonical, combined, in_place
from trainer.config.spellings import READ, meant
from trainer.errors import Problem, did_you_mean

_OLDER_SECTIONS = frozenset(old[: dot.start()] for old in RENAMES for dot in re.finditer(r"\.", old))
_KINDS: dict[str, tuple[type, ...]] = {"bool": (bool,), "str": (str,), "path": (str, Path), "list": (list, tuple)}
# Most values are of these types: fast paths for them.
_PLAIN = frozenset((type(None), bool, int, float, str))
_USUAL: dict[str, type] = {"bool": bool, "str": str, "path": str}
_NUMBER = re.compile(r"^[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?$")


class Said(NamedTuple):
    """The value of a canonical key, and how it was said: spelling and value as given, number of the layer."""

    value: Any
    spelling: str
    given: Any
    layer: int = 0


def collect(
    pairs: Pairs, task: str, problems: list[Problem], whole_file: bool = False, layer: int = 0
) -> dict[str, Said]:
    """Canonical key → what is said of it; mistakes are appended to `problems` and left out."""
    keys, parts = known_keys(task), sections(task)
    collected: dict[str, Said] = {}
    spelt: dict[str, str] = {}
    for spelling, value in combined(pairs, problems, whole_file, keys):
        for key, converted in ((spelling, value),) if spelling in keys else canonical(spelling, value, task).items():
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
            collected[key] = Said(converted, spelling, value, layer)
    return collected


def flattened(layer: Mapping[str, Any], task: str, problems: list[Problem], prefix: str = "") -> Pairs:
    """Dotted keys as they are spelt, with their values; misplaced sections are appended to `problems`."""
    keys, parts = known_keys(task), sections(task)
    flat: Pairs = []
    for name, value in layer.items():
        path = f"{prefix}{name}"
        if type(value) in _PLAIN and path in keys:
            flat.append((path, value))
            continue
        place = path if path in parts else in_place(path)
        if place in parts and not isinstance(value, Mapping):
            if value is None and not parts[place]:
                continue  # an empty section in YAML has no effect
            if value is not None:
                example = next(key for key in keys if key.startswith(f"{place}."))
                what = f"is a section, not a value ({shortened(value)}); set one of its keys, such as {example}"
                problems.append(Problem(path, what))
                continue
        if (value is None or value == {}) and place not in parts and path in _OLDER_SECTIONS:
            continue
        if isinstance(value, Mapping) and path in keys:
            problems.append(Problem(path, "is a value, not a section; it takes no keys of its own"))
        elif isinstance(value, Mapping) and (value or parts.get(place) is False):
            flat += flattened(value, task, problems, f"{path}.")
        else:  # also {} for a section that may be null, with all its defaults
            flat.append((path, value))
    return flat


def _of_kind(key: Key, value: Any) -> tuple[str, Any]:
    """Checks a value's kind; numbers may come as text, whole floats may stand for integers, names as people write
    them."""
    if key.kind == "str" and key.path in READ:
        value = READ[key.path](value)
    if value is None and key.kind == "list" and key.default == ():
        value = ()  # a list with nothing behind its name
    if value is None:
        return ("" if key.nullable else f"must be {_kind_text(key)}, not null"), None
    if any(value is single for single in key.also) or type(value) is _USUAL.get(key.kind):
        return "", value
    if key.kind in ("int", "float") and not isinstance(value, bool):
        number = _number(value)
        if number is not None and (key.kind == "float" or float(number).is_integer()):
            return "", float(number) if key.kind == "float" else int(number)
    if key.kind == "choice":
        value = meant(key, value)
        fits = any(value == choice and type(value) is type(choice) for choice in key.choices)
    else:
        fits = isinstance(value, _KINDS.get(key.kind, ()))
    if fits:
        return "", value
    return f"must be {_kind_text(key)}, not {shortened(value)}{did_you_mean(str(value), key.choices)}", value


def _number(value: Any) -> int | float | None:
    """A finite number from a number or its text; None for anything else."""
    try:
        if isinstance(value, str) and _NUMBER.match(value.strip()):
            value = float(value) if re.search(r"[.eE]", value) else int(value)
        return value if isinstance(value, int | float) and math.isfinite(value) else None
    except (ValueError, OverflowError):  # `1__0`; a whole number beyond all floats
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


def shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
