"""What the user asked for: a trials file and flags → a `Plan`, with every mistake listed before anything runs."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.ladder import SIZE, Budget, refused_in_trials, single_rung
from orchestrator.options import Mistakes, Request, limits_of, places_of, read_options
from orchestrator.plan import Plan
from orchestrator.search import NEEDS_COMPLETED, pruner_settings
from orchestrator.space import Shape, shape_of
from orchestrator.trialsfile import TrialsFile, read_trials_file
from trainer.api import (
    DataError,
    DataSummary,
    RunConfig,
    canonical_overrides,
    check_data,
    known_keys,
    metric_of,
    parse_assignments,
    read_config_file,
    resolve_config,
    task_of,
)

DEFAULT_CONFIG = "default.yaml"


@dataclass(frozen=True)
class _Base:
    """What trials start from: the full-budget configuration, None where it has mistakes.

    `said` are the canonical keys that anything set, `fixed` those that the command line set.
    """

    task: str | None = None
    config: RunConfig | None = None
    said: Collection[str] = ()
    fixed: Collection[str] = ()


def make_plan(request: Request) -> tuple[Plan, DataSummary]:
    """The plan that a request asks for, and the data that it will train on."""
    mistakes = Mistakes()
    file = read_trials_file(request.trials)
    mistakes.problems += file.problems
    found = _base(request, file, mistakes)
    name = _folder_name(request.study or request.trials.stem, mistakes)
    trials = _trials(file, found, mistakes)
    budget = _budget(request, file, mistakes)
    numbers = read_options(request, file, mistakes)
    pruner = _pruner(request, file, numbers["early_stop_threshold"], found.config, mistakes)
    data = _data(found.config, budget, mistakes)
    mistakes.raise_if_any()
    base = found.config
    assert base is not None, "a base with mistakes has raised them"
    assert data is not None, "as above"
    full, summary = data
    rung = single_rung(budget, base)
    group = base.training.batch_size * base.training.accumulate_grad_batches
    plan = Plan(
        name=name,
        folder=Path(os.path.abspath(request.output_dir)) / name,  # noqa: PTH100 - no symlink resolution
        base=_portable(base, found.said),
        rungs=(rung,),
        trials=tuple(trials),
        shapes=_shapes(base, trials),
        pruner=pruner,
        threshold=numbers["early_stop_threshold"],
        seed=numbers["seed"] if numbers["seed"] is not None else base.seed,
        n_trials=numbers["n_trials"] or len(trials),
        data_fingerprint=summary.fingerprint,
        limits=limits_of(numbers),
        places=places_of(request),
        promote=numbers["promote"] or 0,
        promote_seeds=numbers["promote_seeds"] or 1,
        storage=request.storage,
        warmup_steps=base.training.scheduler.warmup_steps,
        full_steps_per_epoch=-(-full.train_rows // group),
        full_images=full.train_images,
        notes=tuple(_notes(budget, rung, base, pruner, numbers, summary, len(trials))),
    )
    return plan, summary


def shipped_config(name: str) -> Path:
    """A base configuration that comes with the package, also where there is no checkout."""
    packaged = importlib.resources.files("orchestrator") / "shipped" / "configs" / name
    here = Path(str(packaged))
    return here if here.is_file() else Path(__file__).parent.parent / "configs" / name


def _base(request: Request, file: TrialsFile, mistakes: Mistakes) -> _Base:
    """Base file, the trials file's overrides and the command line, as far as they can be read."""
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
        assignments = parse_assignments(request.assignments)
    if source is not None:
        with mistakes.collected(str(path)):
            task = task_of(source, file.overrides, assignments)
    if source is None or task is None:
        return _Base()
    layers = {str(path): source, f"{file.path}: overrides": file.overrides, "command line": assignments}
    merged: dict[str, Any] = {"task": task}
    canonical: dict[str, Any] = {}
    for where, layer in layers.items():
        canonical = {}
        with mistakes.collected(where):
            canonical = canonical_overrides(layer, task)
            merged.update(canonical)
    if len(mistakes.problems) > before:
        return _Base(task, fixed=canonical)
    config = None
    with mistakes.collected("base configuration"):
        config = resolve_config(merged)
    return _Base(task, config, merged, canonical)


def _pruner(
    request: Request, file: TrialsFile, threshold: float | None, base: RunConfig | None, mistakes: Mistakes
) -> dict[str, Any]:
    maximize = base is None or metric_of(base).direction == "maximize"
    with mistakes.collected():
        return pruner_settings(request.pruner or file.search.get("pruner", "median"), threshold, maximize)
    return {"name": "none"}


def _data(base: RunConfig | None, budget: Budget, mistakes: Mistakes) -> tuple[DataSummary, DataSummary] | None:
    """The data of full training and of a trial, checked; None where either has mistakes."""
    if base is None:
        return None
    rung = single_rung(budget, base)
    with mistakes.collected("--budget-size"):
        resolve_config(base.plain(), {SIZE: rung.size})
    try:
        full = check_data(base)
        budgeted = {"training.subset_size": rung.subset, "data.val_subset_size": rung.val_subset}
        return full, check_data(resolve_config(base.plain(), budgeted))
    except DataError as error:
        mistakes.add("data", str(error))
        return None


def _portable(base: RunConfig, said: Collection[str]) -> dict[str, Any]:
    """The base as plain data; folders that nobody named stay relative."""
    plain = base.plain()
    if "checkpoint.dir" not in said:
        plain["checkpoint"]["dir"] = "checkpoints"
    if "logging.tensorboard_dir" not in said:
        plain["logging"]["tensorboard_dir"] = "runs"
    plain["checkpoint"]["resume"] = None
    return plain


def _budget(request: Request, file: TrialsFile, mistakes: Mistakes) -> Budget:
    found: dict[str, int | None] = {}
    for axis in ("epochs", "subset", "size", "val_subset"):
        flag = getattr(request.budget, axis)
        where = f"--budget-{axis.replace('_', '-')}" if flag is not None else f"{file.path}: budget.{axis}"
        value = flag if flag is not None else file.budget.get(axis)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            mistakes.add(where, f"must be a whole number of at least 1, not {value!r}")
            value = None
        found[axis] = value
    return Budget(**found)


def _trials(file: TrialsFile, base: _Base, mistakes: Mistakes) -> list[Mapping[str, Any]]:
    """Every trial's canonical keys. Without a base that stands, its keys are checked but not their constraints."""
    found: list[Mapping[str, Any]] = []
    if base.task is None:
        return found
    known = known_keys(base.task)
    source = base.config.plain() if base.config is not None else None
    for number, trial in enumerate(file.trials, start=1):
        where = f"{file.path}, trial {number}"
        before = len(mistakes.problems)
        overrides: Mapping[str, Any] = {}
        with mistakes.collected(where):
            overrides = canonical_overrides(trial, base.task)
        for key in overrides:
            if refused_in_trials(key):
                what = "belongs to the budget or to the study, not to a trial; use the flags or `overrides`"
                mistakes.add(f"{where}: {key}", what)
            elif key not in known:
                mistakes.add(f"{where}: {key}", "is a section; a trial sets its keys, one by one")
            elif key in base.fixed:
                mistakes.add(f"{where}: {key}", "is set by the trial and on the command line; say it once")
        if source is not None and len(mistakes.problems) == before:
            with mistakes.collected(where):
                resolve_config(source, overrides)
        found.append({key: list(v) if isinstance(v, tuple) else v for key, v in overrides.items()})
    return found


def _shapes(base: RunConfig, trials: Sequence[Mapping[str, Any]]) -> dict[str, Shape]:
    keys = known_keys(base.task)
    source = base.plain()
    names = dict.fromkeys(key for trial in trials for key in trial)
    return {name: shape_of(keys[name], [trial.get(name, dotted(source, name)) for trial in trials]) for name in names}


def dotted(tree: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path of a nested mapping, None where a section on the way is null."""
    node: Any = tree
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _folder_name(name: str, mistakes: Mistakes) -> str:
    if not name.strip() or name.startswith(".") or any(sign in name for sign in "/\\\0\n"):
        mistakes.add("--study", f"{name!r} cannot be the name of a folder")
    return name


def _notes(
    budget: Budget,
    rung: Any,
    base: RunConfig,
    pruner: Mapping[str, Any],
    numbers: Mapping[str, Any],
    summary: DataSummary,
    n_trials: int,
) -> list[str]:
    notes = [summary.words, *(f"warning: {warning}" for warning in summary.warnings)]
    missing = [axis for axis in ("epochs", "subset", "size") if getattr(budget, axis) is None]
    if missing and not budget.is_full:
        notes.append(f"budget: {', '.join(missing)} as the base configuration says ({rung.words()})")
    if budget.is_full:
        notes.append(f"no budget was given: every trial trains in full ({rung.words()})")
    if budget.epochs is not None and budget.epochs > base.training.epochs:
        notes.append(
            f"warning: the budget's {budget.epochs} epochs are more than full training's {base.training.epochs}"
        )
    planned = numbers["n_trials"] or n_trials
    if pruner["name"] in NEEDS_COMPLETED and planned <= pruner["n_startup_trials"]:
        first = pruner["n_startup_trials"]
        notes.append(
            f"the {pruner['name']} pruner needs {first} completed trials first: it can prune none of {planned}"
        )
    threshold, metric = numbers["early_stop_threshold"], metric_of(base)
    if metric.name == "bleu" and threshold is not None and 0 < threshold <= 1:
        notes.append(
            f"warning: BLEU is on a scale of 0 to 100; a threshold of {threshold:g} eliminates next to nothing"
        )
    return notes
