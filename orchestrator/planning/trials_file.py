"""The trials file: a list of trials, or a mapping with more sections. All mistakes in its form are found at once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.planning.arguments import section_keys
from trainer.api import ConfigError, Problem, parse_yaml

SECTIONS = (
    "base_config", "overrides", "trials", "search_space", "budget", "ladder", "search", "limits", "promote",
)  # fmt: skip
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 1e12  # seconds; more is a typing error


@dataclass(frozen=True)
class TrialsFile:
    """The content of a trials file, with keys as the user wrote them. `problems` are the mistakes in its form: they
    are not raised here, so that one error can list them with the mistakes in the keys."""

    path: Path
    trials: tuple[Mapping[str, Any], ...]
    base_config: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] = field(default_factory=dict)
    ladder: Any = None
    budget: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    promote: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def read_trials_file(path: Path) -> TrialsFile:
    """Reads JSON or YAML (by the file's ending); `ConfigError` where no trial can be read from it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise _error(path, "no such trials file") from None
    except UnicodeDecodeError:
        raise _error(path, "not UTF-8 text") from None
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror}") from None
    if not text.strip():
        raise _error(path, 'is empty; expected a list of trials, such as [{"training.optimizer.lr": 1e-3}]')
    value, problems = _parsed(text, path)
    if isinstance(value, list):
        value = {"trials": value}
    if not isinstance(value, dict):
        raise _error(path, f"expected a list of trials or a mapping, found {type(value).__name__}")
    trials, space = value.get("trials", []), value.get("search_space", {})
    if not isinstance(trials, list) or not (trials or space):
        raise ConfigError([*problems, *_mistakes(value, path)])
    problems += _mistakes(value, path)
    promote = value.get("promote", {})
    base_config = value.get("base_config")
    return TrialsFile(
        path=path,
        trials=tuple(trial if isinstance(trial, Mapping) else {} for trial in trials),
        base_config=base_config if isinstance(base_config, str) else None,
        space=_mapping(space),
        ladder=value.get("ladder"),
        promote={"top": promote} if isinstance(promote, int) else _mapping(promote),
        problems=tuple(problems),
        **{name: _mapping(value.get(name)) for name in ("overrides", "budget", "search", "limits")},
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def seconds(text: Any) -> float | None:
    """A time in seconds, from `90`, `"90s"`, `"30m"`, `"2h"` or `"1d"`; None for anything else."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text) if 0 <= text < _LONGEST else None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", text) if isinstance(text, str) else None
    number = float(match[1]) * _UNITS[match[2] or "s"] if match else math.nan
    return number if number < _LONGEST else None


def _mistakes(value: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """What is wrong with the form of the file."""
    for name in value:
        if name not in SECTIONS:
            yield Problem(f"{path}: {name}", f"unknown section; known are {', '.join(SECTIONS)}")
    trials, space = value.get("trials", []), value.get("search_space", {})
    if not isinstance(space, Mapping) or ("search_space" in value and not space):
        yield Problem(f"{path}: search_space", "must be a mapping of dotted keys to dimensions, at least one")
    if not isinstance(trials, list) or not (trials or space):
        yield Problem(str(path), "holds no trial and no search_space; expected at least one of them")
        trials = []
    ladder = value.get("ladder", "auto")
    if not (isinstance(ladder, str) or (isinstance(ladder, list) and ladder)):
        what = f"must be text such as 1x250@96,3x500@160, a list of rungs or auto, not {ladder!r}"
        yield Problem(f"{path}: ladder", what)
    for number, trial in enumerate(trials, start=1):
        if not isinstance(trial, Mapping):
            what = f"must be an object of dotted keys, not {json.dumps(trial, default=str)[:60]}"
            yield Problem(f"{path}, trial {number}", what)
    if not isinstance(value.get("base_config", ""), str):
        yield Problem(f"{path}: base_config", "must be a path")
    if not isinstance(value.get("overrides", {}), Mapping):
        yield Problem(f"{path}: overrides", "must be a mapping of dotted keys")
    for section, keys in section_keys().items():
        content = value.get(section, {})
        if section == "promote" and isinstance(content, int) and not isinstance(content, bool):
            continue
        if not isinstance(content, Mapping):
            yield Problem(f"{path}: {section}", f"must be a mapping of {', '.join(keys)}")
            continue
        for key in content:
            if key not in keys:
                yield Problem(f"{path}: {section}.{key}", f"unknown; known are {', '.join(keys)}")


class _Object(dict[str, Any]):
    """A JSON object with the keys that were written in it more than once."""

    repeated: tuple[str, ...] = ()


def _parsed(text: str, path: Path) -> tuple[Any, list[Problem]]:
    """The value of the text, and a problem for each key that is in it twice (in YAML the reader itself refuses it)."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return parse_yaml(text, str(path)), []
    value = _parse_json(text, path)
    return value, [Problem(where, f"the key {key!r} is set twice") for where, key in _repeats(value, str(path))]


def _parse_json(text: str, path: Path) -> Any:
    def remember(pairs: list[tuple[str, Any]]) -> _Object:
        value = _Object(pairs)
        names = [name for name, _ in pairs]
        value.repeated = tuple(dict.fromkeys(name for name in names if names.count(name) > 1))
        return value

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not a number in JSON")

    try:
        return json.loads(text, object_pairs_hook=remember, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise _error(path, f"not valid JSON, line {error.lineno} column {error.colno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise _error(path, f"not valid JSON: {error}") from None


def _repeats(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every repeated key with its place; trials are named by their number."""
    if isinstance(value, _Object):
        yield from ((where, key) for key in value.repeated)
        for name, part in value.items():
            yield from _repeats(part, where if name == "trials" else f"{where}: {name}")
    elif isinstance(value, list):
        for number, part in enumerate(value, start=1):
            yield from _repeats(part, f"{where}, trial {number}")


def _error(path: Path, what: str) -> ConfigError:
    return ConfigError([Problem(str(path), what)])
