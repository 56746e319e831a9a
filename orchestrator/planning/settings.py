"""Settings of sampler and policy: a name, or a mapping with `name` and options, is completed with all options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orchestrator.policies.policy import Circumstances, Options
from orchestrator.policies.table import POLICIES, policy_kind
from orchestrator.samplers.table import SAMPLERS, sampler_kind
from trainer.api import ConfigError, Metric, Problem


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
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    return "" if is_number and math.isfinite(value) else "a whole number" if whole else "a number"
