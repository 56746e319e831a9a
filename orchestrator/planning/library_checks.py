"""What only the libraries that train can say of a plan: asked before a study is made, not where one is planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.planning.mistakes import Mistakes
from orchestrator.study.plan import Plan
from orchestrator.study.space import as_json, choices_of, circumstances
from trainer.api import ConfigError, Problem, RunConfig, known_keys, resolve_config, try_out


def try_out_all(plan: Plan, file: Path) -> None:
    """`ConfigError` with what the libraries refuse of the base, and of trials and choices in a way the base does not.

    Each is tried at every size that it may be trained at.
    """
    mistakes = Mistakes()
    of_base = _problems(plan, {})
    mistakes.problems += of_base
    for where, overrides in _variants(plan, file):
        for problem in _problems(plan, overrides):
            if problem not in of_base:
                mistakes.add(f"{where}: {problem.where}", problem.what)
    mistakes.raise_if_any()


def _variants(plan: Plan, file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every listed trial, and on the base every choice that is no number, each with its place."""
    for number, trial in enumerate(plan.trials, start=1):
        yield f"{file}, trial {number}", trial
    known = known_keys(plan.base_config.task)
    dimensions = {dimension.key: dimension for dimension in plan.space}
    for key, dimension in dimensions.items():
        for value in () if known[key].kind in ("int", "float", "bool") else choices_of(dimension.shape):
            around = next(circumstances(dimension, dimensions))
            yield f"{file}: search_space.{key}: choice {as_json(value)}", {**around, key: value}


def _problems(plan: Plan, overrides: Mapping[str, Any]) -> list[Problem]:
    try:
        for config in _configs(plan, overrides):
            try_out(config)
    except ConfigError as error:
        return list(error.problems)
    return []


def _configs(plan: Plan, overrides: Mapping[str, Any]) -> Iterator[RunConfig]:
    sizes = dict.fromkeys(rung.size for rung in plan.rungs)
    for size in sizes:
        yield plan.search_config(overrides, next(rung for rung in plan.rungs if rung.size == size))
    if len(sizes) > 1:  # to a model that climbs, the rungs' sizes are a schedule of resizing
        schedule = [[epoch, size] for epoch, size in enumerate(sizes, start=1)]
        yield resolve_config(plan.search_plain(overrides, plan.rungs[0]), {"training.resize_schedule": schedule})
    if plan.promote:
        yield plan.full_config(overrides, 0)
