"""What the user says of sampler and policy: a name, or a mapping with `name` and options → a name with all options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orchestrator.policies.policy import Circumstances, Options
from orchestrator.policies.table import POLICIES, policy_kind
from orchestrator.samplers.table import SAMPLERS, sampler_kind
from trainer.api import ConfigError, Metric, Problem


def sampler_settings(said: Any) -> dict[str, Any]:
    """A sampler's name and all its options; `ConfigError` lists mistakes."""
    name, given = _named("sampler", said, SAMPLERS)
    return {"name": name, **_options(f"sampler {name}", sampler_kind(name).options, given)}


def pruner_settings(said: Any, threshold: float | None, metric: Metric, epochs: int) -> dict[str, Any]:
    """A policy's name and all its options; `ConfigError` lists mistakes. `epochs` is the budget of a trial."""
    name, given = _named("pruner", said, POLICIES)
    kind = policy_kind(name)
    options = _options(f"pruner {name}", kind.options, given)
    try:
        return {"name": name, **kind.complete(options, given, Circumstances(metric, epochs, threshold))}
    except ValueError as error:
        raise ConfigError([Problem(f"pruner {name}", str(error))]) from None


def _named(what: str, said: Any, table: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    given = {"name": said} if isinstance(said, str) else dict(said) if isinstance(said, Mapping) else {}
    name = given.pop("name", None)
    if not isinstance(name, str) or name not in table:
        raise ConfigError([Problem(what, f"unknown {what} {name or said!r}; known are {', '.join(table)}")])
    return name, given


def _options(what: str, usual: Options, given: Options) -> dict[str, Any]:
    """All options, the given ones over the usual ones."""
    problems = [
        Problem(what, f"takes no option {key!r}; it takes {', '.join(usual) or 'none'}")
        for key in given
        if key not in usual
    ]
    problems += [
        Problem(what, f"{key} must be {words}, not {value!r}")
        for key, value in given.items()
        if key in usual and (words := _misfit(usual[key], value))
    ]
    if problems:
        raise ConfigError(problems)
    return {**usual, **given}


def _misfit(usual: Any, value: Any) -> str:
    """What an option must be, where a value is not that: whole numbers are those whose default is one."""
    if isinstance(usual, bool):
        return "" if isinstance(value, bool) else "true or false"
    whole = isinstance(usual, int)
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    return "" if is_number and math.isfinite(value) else "a whole number" if whole else "a number"
