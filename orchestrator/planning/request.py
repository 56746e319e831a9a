"""Planning: a trials file and flags become a `Plan`; every mistake is listed before anything runs."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.planning.arguments import Request
from orchestrator.planning.data_checks import DataChecks
from orchestrator.planning.mistakes import Mistakes
from orchestrator.planning.plan_notes import plan_notes
from orchestrator.planning.search_space import read_space
from orchestrator.planning.settings import read_arguments
from orchestrator.planning.strategy import Strategy, read_strategy
from orchestrator.planning.trials_file import TrialsFile, read_trials_file
from orchestrator.study.draws import Draws
from orchestrator.study.ladder import SUBSET, VAL_SUBSET, refused_in_trials
from orchestrator.study.plan import Plan, dotted
from orchestrator.study.space import Shape, Space, shape_of
from trainer.api import (
    ConfigError,
    DataError,
    DataSummary,
    Problem,
    RunConfig,
    assumptions,
    canonical_overrides,
    check_data,
    known_keys,
    parse_assignments,
    read_config_file,
    resolve_config,
    task_of,
)

DEFAULT_CONFIG = "default.yaml"


@dataclass(frozen=True)
class _Base:
    """The configuration that trials start from, at full budget; `config` is None where it has mistakes.

    `given` are the canonical keys that a file or the command line sets, `fixed` those of the command line. `assumed`
    are notes on how keys of an older file were understood.
    """

    task: str | None = None
    config: RunConfig | None = None
    given: Collection[str] = ()
    fixed: Collection[str] = ()
    assumed: Collection[str] = ()


def make_plan(request: Request) -> tuple[Plan, DataSummary]:
    """The plan that a request asks for, and the data that it will train on."""
    mistakes = Mistakes()
    file = read_trials_file(request.trials)
    mistakes.problems += file.problems
    start = _base(request, file, mistakes)
    base = start.config
    name = _folder_name(request.study or request.trials.stem, mistakes)
    checks = DataChecks(base) if base is not None else None
    trials = _trials(file, start, checks, mistakes)
    space = _space(file, start, checks, mistakes)
    given = read_arguments(request, file, mistakes)
    full = checks.full if checks is not None else None
    if checks is not None and checks.mistake:
        mistakes.add("data", checks.mistake)
    strategy = read_strategy(given, file, base, full, space, mistakes)
    mistakes.raise_if_any()
    assert base is not None, "a base with mistakes has raised them"
    assert full is not None, "as above"
    assert strategy is not None, "as above"
    summary = _budgeted_data(base, strategy)
    group = base.training.batch_size * base.training.accumulate_grad_batches
    seed = given["seed"] if given["seed"] is not None else base.seed
    plan = Plan(
        name=name,
        folder=Path(os.path.abspath(request.output_dir)) / name,  # noqa: PTH100 - no symlink resolution
        base=_portable(base, start.given),
        rungs=strategy.rungs,
        trials=tuple(trials),
        space=space,
        sampler=strategy.sampler,
        shapes=_shapes(base, trials, space),
        pruner=strategy.pruner,
        threshold=given["early_stop_threshold"],
        seed=seed,
        draws=Draws(given["anchors"] or 0.0, given["audit"] or 0.0, seed),
        n_trials=strategy.n_trials or len(trials),
        data_fingerprint=summary.fingerprint,
        limits=given.limits,
        places=given.places,
        promote=given["promote"] or 0,
        promote_seeds=given["promote_seeds"] or 1,
        storage=request.storage,
        warmup_steps=base.training.scheduler.warmup_steps,
        full_steps_per_epoch=-(-full.train_rows // group),
        full_images=full.train_images,
    )
    of_trials = [f"warning: in some trials, {warning}" for warning in (checks.warnings if checks is not None else ())]
    notes = (*start.assumed, *plan_notes(plan, given.budget, strategy, full, summary), *of_trials)
    return replace(plan, notes=notes), summary


def shipped_config(name: str) -> Path:
    """A base configuration that is part of the package; in a checkout of the source, that of `configs/`."""
    packaged = Path(str(importlib.resources.files("orchestrator") / "shipped" / "configs" / name))
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "configs" / name


def _base(request: Request, file: TrialsFile, mistakes: Mistakes) -> _Base:
    """The base file, with the trials file's overrides and then the command line's; as far as they can be read."""
    if request.base_config is not None:
        path = request.base_config
    elif file.base_config is not None:
        path = file.path.parent / file.base_config
    else:
        path = Path("configs") / DEFAULT_CONFIG
        path = path if path.is_file() else shipped_config(DEFAULT_CONFIG)
    before = len(mistakes.problems)
    source: Mapping[str, Any] | None = None
    assignments: Mapping[str, Any] = {}
    task = None
    with mistakes.collected():
        source = read_config_file(path)
    with mistakes.collected():
        assignments = parse_assignments(request.assignments or ())
    if source is not None:
        with mistakes.collected(str(path)):
            task = task_of(source, file.overrides, assignments)
    if source is None or task is None:
        return _Base()
    layers = {str(path): source, f"{file.path}: overrides": file.overrides, "command line": assignments}
    given: set[str] = set()
    fixed: Collection[str] = ()
    for where, layer in layers.items():
        fixed = ()
        with mistakes.collected(where):
            fixed = canonical_overrides(layer, task, whole_file=layer is source)
            given |= set(fixed)
    if len(mistakes.problems) > before:
        return _Base(task, fixed=fixed)
    config = None
    with mistakes.collected():
        config = resolve_config(*layers.values(), names=[*layers])
    assumed = assumptions(source, task, file.overrides, assignments, block=True)
    return _Base(task, config, given, fixed, assumed)


def _budgeted_data(base: RunConfig, strategy: Strategy) -> DataSummary:
    """The data of a trial on the top rung; what a warm-up is there, the notes of the plan say."""
    top, no_warmup = strategy.rungs[-1], {"training.scheduler.warmup_steps": 0}
    try:
        overrides = {SUBSET: top.subset, VAL_SUBSET: top.val_subset, **no_warmup}
        return check_data(resolve_config(base.plain(), overrides))
    except DataError as error:
        raise ConfigError([Problem("data", str(error))]) from None


def _space(file: TrialsFile, base: _Base, checks: DataChecks | None, mistakes: Mistakes) -> Space:
    if base.task is None or not file.space:
        return ()
    where = f"{file.path}: search_space"
    try_out = checks.try_out if checks is not None else None
    return read_space(file.space, base.task, try_out, base.fixed, where, mistakes)


def _portable(base: RunConfig, given: Collection[str]) -> dict[str, Any]:
    """The base as plain data; folders that are not given stay relative."""
    plain = base.plain()
    if "checkpoint.dir" not in given:
        plain["checkpoint"]["dir"] = "checkpoints"
    if "logging.tensorboard_dir" not in given:
        plain["logging"]["tensorboard_dir"] = "runs"
    plain["checkpoint"]["resume"] = None
    return plain


def _trials(file: TrialsFile, base: _Base, checks: DataChecks | None, mistakes: Mistakes) -> list[Mapping[str, Any]]:
    """The overrides of every trial under canonical keys. Without a valid base only their form is checked."""
    if base.task is None:
        return []
    trials: list[Mapping[str, Any]] = []
    known = known_keys(base.task)
    for number, trial in enumerate(file.trials, start=1):
        where = f"{file.path}, trial {number}"
        before = len(mistakes.problems)
        overrides: Mapping[str, Any] = {}
        with mistakes.collected(where):
            overrides = canonical_overrides(trial, base.task)
        for key in overrides:
            if key not in known:
                mistakes.add(f"{where}: {key}", "is a section; a trial sets its keys, one by one")
            elif refused_in_trials(known[key]):
                what = "belongs to the budget or to the study, not to a trial; use the flags or `overrides`"
                mistakes.add(f"{where}: {key}", what)
            elif key in base.fixed:
                mistakes.add(f"{where}: {key}", "is set by the trial and on the command line; set it once")
        if checks is not None and len(mistakes.problems) == before:
            with mistakes.collected(where):
                checks.try_out(trial)  # as it is spelt, for the errors
        trials.append({key: list(v) if isinstance(v, tuple) else v for key, v in overrides.items()})
    return trials


def _shapes(base: RunConfig, trials: Sequence[Mapping[str, Any]], space: Space) -> dict[str, Shape]:
    """Optuna's distributions by key: that of the dimension for a searched key, else that of the schema."""
    keys = known_keys(base.task)
    source = base.plain()
    searched = {dimension.key: dimension.shape for dimension in space}
    names = dict.fromkeys([*(key for trial in trials for key in trial), *searched])
    return {
        name: searched.get(name) or shape_of(keys[name], [trial.get(name, dotted(source, name)) for trial in trials])
        for name in names
    }


def _folder_name(name: str, mistakes: Mistakes) -> str:
    if not name.strip() or name.startswith(".") or any(sign in name for sign in "/\\\0\n"):
        mistakes.add("--study", f"{name!r} cannot be the name of a folder")
    return name
