"""What the user asked for: a trials file and flags → a `Plan`, with every mistake listed before anything runs."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.ladder import SIZE, Budget, refused_in_trials, single_rung
from orchestrator.plan import Limits, Places, Plan
from orchestrator.search import NEEDS_COMPLETED, pruner_settings
from orchestrator.space import Shape, shape_of
from orchestrator.trialsfile import TrialsFile, read_trials_file, seconds
from trainer.api import (
    ConfigError,
    DataError,
    DataSummary,
    Problem,
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
class Request:
    """The arguments of `run` and `plan`; None stands for what was not said."""

    trials: Path
    assignments: Sequence[str] = ()
    base_config: Path | None = None
    study: str | None = None
    output_dir: Path = Path("outputs")
    seed: int | None = None
    budget: Budget = field(default_factory=Budget)
    n_trials: int | None = None
    pruner: str | None = None
    threshold: float | None = None
    timeout: str | None = None
    max_gpu_hours: float | None = None
    max_failures: int | None = None
    max_checkpoint_gb: float | None = None
    stall_timeout: str | None = None
    workers: int | None = None
    threads_per_slot: int | None = None
    storage: str = ""
    promote: int | None = None
    promote_seeds: int | None = None


class _Mistakes:
    """Collects problems from steps that raise `ConfigError`, so that all are said together."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, where: str, what: str) -> None:
        self.problems.append(Problem(where, what))

    def take(self, error: ConfigError, prefix: str = "") -> None:
        for problem in error.problems:
            where = ": ".join(part for part in (prefix, problem.where) if part)
            self.problems.append(Problem(where, problem.what))

    def raise_if_any(self) -> None:
        if self.problems:
            raise ConfigError(list(dict.fromkeys(self.problems)))


def make_plan(request: Request) -> tuple[Plan, DataSummary]:
    """The plan that a request asks for, and the data that it will train on."""
    mistakes = _Mistakes()
    file = read_trials_file(request.trials)
    base, said = _base(request, file, mistakes)
    mistakes.raise_if_any()
    assert base is not None, "a base with mistakes has raised them"
    budget = _budget(request, file, mistakes)
    rung = single_rung(budget, base)
    try:
        resolve_config(base.plain(), {SIZE: rung.size})
    except ConfigError as error:
        mistakes.take(error, "--budget-size")
    trials = _trials(file, base, request.assignments, mistakes)
    maximize = metric_of(base).direction == "maximize"
    numbers = _numbers(request, file, mistakes)
    pruner: dict[str, Any] = {"name": "none"}
    try:
        wanted = request.pruner or file.search.get("pruner", "median")
        pruner = pruner_settings(wanted, numbers["threshold"], maximize)
    except ConfigError as error:
        mistakes.take(error)
    summary = full = None
    try:
        full = check_data(base)
        budgeted = {"training.subset_size": rung.subset, "data.val_subset_size": rung.val_subset}
        summary = check_data(resolve_config(base.plain(), budgeted))
    except DataError as error:
        mistakes.add("data", str(error))
    mistakes.raise_if_any()
    assert summary is not None, "data with mistakes has raised them"
    assert full is not None, "as above"
    name = request.study or request.trials.stem
    folder = Path(os.path.abspath(request.output_dir)) / _folder_name(name)  # noqa: PTH100 - no symlink resolution
    group = base.training.batch_size * base.training.accumulate_grad_batches
    plan = Plan(
        name=name,
        folder=folder,
        base=_portable(base, said),
        rungs=(rung,),
        trials=tuple(trials),
        shapes=_shapes(base, trials),
        pruner=pruner,
        threshold=numbers["threshold"],
        seed=numbers["seed"] if numbers["seed"] is not None else base.seed,
        n_trials=numbers["n_trials"] or len(trials),
        data_fingerprint=summary.fingerprint,
        limits=_limits(numbers),
        places=_places(request),
        promote=numbers["promote"],
        promote_seeds=numbers["promote_seeds"],
        storage=request.storage,
        warmup_steps=base.training.scheduler.warmup_steps,
        full_steps_per_epoch=-(-full.train_rows // group),
        full_images=full.train_images,
        own_checkpoint_dir="checkpoint.dir" in said,
        notes=tuple(_notes(budget, rung, base, pruner, numbers, summary, len(trials))),
    )
    return plan, summary


def shipped_config(name: str) -> Path:
    """A base configuration that comes with the package, also where there is no checkout."""
    packaged = importlib.resources.files("orchestrator") / "shipped" / "configs" / name
    here = Path(str(packaged))
    return here if here.is_file() else Path(__file__).parent.parent / "configs" / name


def _base(request: Request, file: TrialsFile, mistakes: _Mistakes) -> tuple[RunConfig | None, set[str]]:
    """The full-budget configuration, and the canonical keys that anything in it said."""
    if request.base_config is not None:
        path = request.base_config
    elif file.base_config is not None:
        path = file.path.parent / file.base_config
    else:
        path = Path("configs") / DEFAULT_CONFIG
        path = path if path.is_file() else shipped_config(DEFAULT_CONFIG)
    try:
        source = read_config_file(path)
        assignments = parse_assignments(request.assignments)
    except ConfigError as error:
        mistakes.take(error)
        return None, set()
    layers = (("", source), (f"{file.path}: overrides", file.overrides), ("command line", assignments))
    try:
        task = task_of(source, file.overrides, assignments)
    except ConfigError as error:
        mistakes.take(error, str(path))
        return None, set()
    merged: dict[str, Any] = {"task": task}
    for where, layer in layers:
        try:
            merged.update(canonical_overrides(layer, task))
        except ConfigError as error:
            mistakes.take(error, where or str(path))
    if mistakes.problems:
        return None, set()
    try:
        return resolve_config(merged), set(merged)
    except ConfigError as error:
        mistakes.take(error, "base configuration")
        return None, set()


def _portable(base: RunConfig, said: set[str]) -> dict[str, Any]:
    """The base as plain data; a folder for checkpoints that nobody named stays relative."""
    plain = base.plain()
    if "checkpoint.dir" not in said:
        plain["checkpoint"]["dir"] = "checkpoints"
    plain["checkpoint"]["resume"] = None
    return plain


def _budget(request: Request, file: TrialsFile, mistakes: _Mistakes) -> Budget:
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


def _trials(
    file: TrialsFile, base: RunConfig, assignments: Sequence[str], mistakes: _Mistakes
) -> list[Mapping[str, Any]]:
    fixed = canonical_overrides(parse_assignments(assignments), base.task)
    source = base.plain()
    found: list[Mapping[str, Any]] = []
    for number, trial in enumerate(file.trials, start=1):
        where = f"{file.path}, trial {number}"
        try:
            overrides = canonical_overrides(trial, base.task)
        except ConfigError as error:
            mistakes.take(error, where)
            continue
        wrong = False
        for key in overrides:
            if refused_in_trials(key):
                wrong = True
                what = "belongs to the budget or to the study, not to a trial; use the flags or `overrides`"
                mistakes.add(f"{where}: {key}", what)
            elif key in fixed:
                wrong = True
                mistakes.add(f"{where}: {key}", "is set by the trial and on the command line; say it once")
        if wrong:
            continue
        try:
            resolve_config(source, overrides)
        except ConfigError as error:
            mistakes.take(error, where)
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


def _numbers(request: Request, file: TrialsFile, mistakes: _Mistakes) -> dict[str, Any]:
    """Every scalar option, from its flag or else from the file, checked."""
    search, limits, promote = file.search, file.limits, file.promote
    table: tuple[tuple[str, str, Any, Any, type | tuple[type, ...], float | None], ...] = (
        ("seed", "--seed", request.seed, search.get("seed"), int, 0),
        ("n_trials", "--n-trials", request.n_trials, search.get("n_trials"), int, 1),
        ("threshold", "--early-stop-threshold", request.threshold, search.get("early_stop_threshold"), (int, float), None),
        ("gpu_hours", "--max-gpu-hours", request.max_gpu_hours, limits.get("max_gpu_hours"), (int, float), 0),
        ("failures", "--max-failures", request.max_failures, limits.get("max_failures"), int, 1),
        ("checkpoint_gb", "--max-checkpoint-gb", request.max_checkpoint_gb, limits.get("max_checkpoint_gb"), (int, float), 0),
        ("promote", "--promote", request.promote, promote.get("top"), int, 0),
        ("promote_seeds", "--promote-seeds", request.promote_seeds, promote.get("seeds"), int, 1),
        ("workers", "--workers", request.workers, None, int, 1),
        ("threads", "--threads-per-slot", request.threads_per_slot, None, int, 1),
    )  # fmt: skip
    found: dict[str, Any] = {}
    for name, flag, said, from_file, kind, least in table:
        value = said if said is not None else from_file
        if value is not None:
            fits = isinstance(value, kind) and not isinstance(value, bool) and value == value
            if not fits or (least is not None and value < least):
                words = "a whole number" if kind is int else "a number"
                mistakes.add(
                    flag, f"must be {words}{f' of at least {least}' if least is not None else ''}, not {value!r}"
                )
                value = None
        found[name] = value
    found["promote"] = found["promote"] or 0
    found["promote_seeds"] = found["promote_seeds"] or 1
    for name, flag, said in (
        ("timeout", "--timeout", request.timeout if request.timeout is not None else limits.get("timeout")),
        ("stall", "--stall-timeout", request.stall_timeout),
    ):
        found[name] = seconds(said) if said is not None else None
        if said is not None and not found[name]:
            mistakes.add(flag, f"must be a time such as 90s, 30m or 2h, not {said!r}")
    sampler = search.get("sampler")
    if sampler is not None:
        mistakes.add(f"{file.path}: search.sampler", "a list of trials is searched in its order and takes no sampler")
    return found


def _limits(numbers: Mapping[str, Any]) -> Limits:
    usual = Limits()
    return Limits(
        timeout_seconds=numbers["timeout"],
        max_gpu_hours=numbers["gpu_hours"],
        max_failures=numbers["failures"] or usual.max_failures,
        max_checkpoint_gb=usual.max_checkpoint_gb if numbers["checkpoint_gb"] is None else numbers["checkpoint_gb"],
        stall_seconds=numbers["stall"] or usual.stall_seconds,
    )


def _places(request: Request) -> Places:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = request.workers or 1
    return Places(workers, request.threads_per_slot or max(1, cores // workers))


def _folder_name(name: str) -> str:
    wrong = not name.strip() or name.startswith(".") or any(sign in name for sign in "/\\\0\n")
    if wrong:
        raise ConfigError([Problem("--study", f"{name!r} cannot be the name of a folder")])
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
    threshold, metric = numbers["threshold"], metric_of(base)
    if metric.name == "bleu" and threshold is not None and 0 < threshold <= 1:
        notes.append(
            f"warning: BLEU is on a scale of 0 to 100; a threshold of {threshold:g} eliminates next to nothing"
        )
    return notes
