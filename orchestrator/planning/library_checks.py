"""Checks that need the training libraries: `run` does them before it makes a study; `plan` leaves them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.planning.mistakes import Mistakes
from orchestrator.study.plan import Plan
from orchestrator.study.space import as_json, choices_of, circumstances
from trainer.api import ConfigError, Problem, RunConfig, known_keys, resolve_config, try_out


def try_out_all(plan: Plan, file: Path) -> None:
    """`ConfigError` with what the libraries refuse: of the base, and of trials and choices what the base does not have.

    Each is tried at every image size that it may be trained at.
    """
    mistakes = Mistakes()
    base_problems = _problems(plan, {})
    mistakes.problems += base_problems
    for where, overrides in _variants(plan, file):
        for problem in _problems(plan, overrides):
            if problem not in base_problems:
                mistakes.add(f"{where}: {problem.where}", problem.what)
    mistakes.raise_if_any()


def _variants(plan: Plan, file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every listed trial, and the base with every choice that is not a number, each with its place in the file."""
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
    if len(sizes) > 1:  # for a model in memory, a climb over the rungs is a schedule of sizes
        schedule = [[epoch, size] for epoch, size in enumerate(sizes, start=1)]
        yield resolve_config(plan.search_plain(overrides, plan.rungs[0]), {"training.resize_schedule": schedule})
    if plan.promote:
        yield plan.full_config(overrides, 0)
