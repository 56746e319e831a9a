"""The values of all arguments, by flag or else from the trials file, and the settings of sampler and policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, get_type_hints

from orchestrator.planning.arguments import FIELDS, Option, Request, flag, place
from orchestrator.planning.mistakes import Mistakes
from orchestrator.planning.trials_file import TrialsFile, seconds
from orchestrator.policies.policy import Circumstances, Options
from orchestrator.policies.table import POLICIES, policy_kind
from orchestrator.samplers.table import SAMPLERS, sampler_kind
from orchestrator.slots.machine import cores, usual_workers
from orchestrator.slots.table import SLOTS
from orchestrator.study.ladder import Budget
from orchestrator.study.plan import Limits, Places
from trainer.api import ConfigError, Metric, Problem

_TYPES = get_type_hints(Request)


@dataclass(frozen=True)
class Given:
    """The value of every argument by its name, None where the user set none; `origins` says where it was set."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def budget(self) -> Budget:
        return Budget(**{axis.name: self.values[f"budget_{axis.name}"] for axis in fields(Budget)})

    @property
    def limits(self) -> Limits:
        names = {"timeout_seconds": "timeout", "stall_seconds": "stall_timeout"}
        values = {field.name: self.values[names.get(field.name, field.name)] for field in fields(Limits)}
        return Limits(**{name: value for name, value in values.items() if value is not None})

    @property
    def places(self) -> Places:
        workers = self["workers"] or usual_workers(self["slots_per_gpu"] or 1)
        return Places(workers, self["threads_per_slot"] or max(1, cores() // workers), self["slots"])


def read_arguments(request: Request, file: TrialsFile, mistakes: Mistakes) -> Given:
    """Every argument, from its flag or else from the file; a value that does not fit counts as not set."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for field in FIELDS:
        name, (section, key) = field.name, place(field)
        value, origins[name] = getattr(request, name), flag(name)
        if value in (None, "") and section:
            value, origins[name] = getattr(file, section).get(key), f"{file.path}: {section}.{key}"
        values[name], problem = (value, "") if value is None else _checked(field, value)
        if problem:
            mistakes.add(origins[name], problem)
    if request.slots not in SLOTS:
        mistakes.add("--slots", f"must be one of {', '.join(SLOTS)}, not {request.slots!r}")
    return Given(values, origins)


def _checked(field: Field[Any], value: Any) -> tuple[Any, str]:
    """A value in its final form, or None and what is wrong with it."""
    option: Option = field.metadata["option"]
    if option.is_time:
        parsed = seconds(value)
        return parsed or None, "" if parsed else f"must be a time such as 90s, 30m or 2h, not {value!r}"
    kind = {int | None: "a whole number", float | None: "a number"}.get(_TYPES[field.name])
    if kind is None:
        return value, ""
    least, most = (-math.inf if option.least is None else option.least), option.most or math.inf
    if is_number(value, kind == "a whole number") and least <= value <= most:
        return value, ""
    bound = "" if option.least is None else f" of at least {option.least:g}"
    bound += "" if option.most is None else f" and at most {option.most:g}"
    return None, f"must be {kind}{bound}, not {value!r}"


def is_number(value: Any, whole: bool) -> bool:
    """Whether a value is a finite number; true and false are none."""
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    return fits and math.isfinite(value)


def sampler_settings(setting: Any) -> dict[str, Any]:
    """A sampler's name and all its options; `ConfigError` lists mistakes."""
    name, given = _named("sampler", setting, SAMPLERS)
    return {"name": name, **_options(f"sampler {name}", sampler_kind(name).options, given)}


def pruner_settings(setting: Any, threshold: float | None, metric: Metric, epochs: int) -> dict[str, Any]:
    """A policy's name and all its options; `ConfigError` lists mistakes. `epochs` is the budget of a trial."""
    name, given = _named("pruner", setting, POLICIES)
    kind = policy_kind(name)
    options = _options(f"pruner {name}", kind.options, given)
    try:
        return {"name": name, **kind.complete(options, given, Circumstances(metric, epochs, threshold))}
    except ValueError as error:
        raise ConfigError([Problem(f"pruner {name}", str(error))]) from None


def _named(what: str, setting: Any, table: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    given = {"name": setting} if isinstance(setting, str) else dict(setting) if isinstance(setting, Mapping) else {}
    name = given.pop("name", None)
    if not isinstance(name, str) or name not in table:
        raise ConfigError([Problem(what, f"unknown {what} {name or setting!r}; known are {', '.join(table)}")])
    return name, given


def _options(what: str, defaults: Options, given: Options) -> dict[str, Any]:
    """All options: the defaults, replaced by the given ones."""
    takes = ", ".join(defaults) or "none"
    problems = [f"takes no option {key!r}; it takes {takes}" for key in given if key not in defaults]
    problems += [
        f"{key} must be {kind}, not {value!r}"
        for key, value in given.items()
        if key in defaults and (kind := _misfit(defaults[key], value))
    ]
    if problems:
        raise ConfigError([Problem(what, problem) for problem in problems])
    return {**defaults, **given}


def _misfit(default: Any, value: Any) -> str:
    """The kind that an option must have, empty where the value has it; an option has the kind of its default."""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    whole = isinstance(default, int)
    return "" if is_number(value, whole) else "a whole number" if whole else "a number"
