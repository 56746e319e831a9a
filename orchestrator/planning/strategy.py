"""The strategy of a study: rungs, pruner, sampler and number of trials, from flags or else from the trials file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.planning.mistakes import Mistakes
from orchestrator.planning.settings import Given, pruner_settings, sampler_settings
from orchestrator.planning.trials_file import TrialsFile
from orchestrator.policies.halving import REDUCTION_FACTOR
from orchestrator.policies.table import POLICIES, USUAL_ON_LADDER, USUAL_ON_ONE_RUNG, policy_kind
from orchestrator.samplers.table import USUAL, sampler_kind
from orchestrator.study.ladder import SIZE, Budget, Rung, derived_ladder, rungs_of, single_rung
from orchestrator.study.space import Space
from trainer.api import LOSS, DataSummary, RunConfig, metric_of, resolve_config

USUAL_TRIALS = 20


@dataclass(frozen=True)
class Strategy:
    """What `read_strategy` returns. `n_trials` None stands for all trials of the list. `derived`: the ladder was
    computed from the budget. `usual_trials`: the number of trials is the default."""

    rungs: tuple[Rung, ...]
    pruner: Mapping[str, Any]
    sampler: Mapping[str, Any]
    n_trials: int | None
    derived: bool
    usual_trials: bool


def read_strategy(
    given: Given, file: TrialsFile, base: RunConfig | None, full: DataSummary | None, space: Space, mistakes: Mistakes
) -> Strategy | None:
    """Ladder, pruner, sampler and number of trials, checked against each other; None where the base has mistakes."""
    before = len(mistakes.problems)
    sampler = _sampler(given, file, space, mistakes)
    pruner_setting = given["pruner"]
    ladder, where = given["ladder"], "--ladder"
    if ladder is None:
        ladder, where = file.ladder, f"{file.path}: ladder"
    if base is None:  # without it there is no metric and no size, but what is wrong in itself can be reported
        with mistakes.collected():
            pruner_settings(pruner_setting or "none", given["early_stop_threshold"], LOSS, 1)
        for problem in rungs_of(ladder, None, None)[1] if ladder not in (None, "auto") else ():
            mistakes.add(where, problem)
        return None
    name = pruner_setting.get("name") if isinstance(pruner_setting, Mapping) else pruner_setting
    if ladder is None and name in POLICIES and policy_kind(name).needs_ladder:
        ladder, where = "auto", given.origins["pruner"]
    factor = given["reduction_factor"] or REDUCTION_FACTOR
    rungs = _rungs(ladder, where, base, full, given.budget, factor, mistakes)
    pruner = _pruner(given, rungs, base, mistakes)
    for number, rung in enumerate(rungs, start=1):
        place = given.origins["budget_size"] if len(rungs) == 1 else f"{where}: rung {number}"
        with mistakes.collected(place):
            resolve_config(base.plain(), {SIZE: rung.size})
    if len(mistakes.problems) > before:
        return None
    n_trials: int | None = given["n_trials"]
    usual = False
    if n_trials is None and space:
        size = sampler_kind(sampler["name"]).size(space)
        usual = size is None
        n_trials = len(file.trials) + (USUAL_TRIALS if size is None else size)
    return Strategy(rungs, pruner, sampler, n_trials, ladder == "auto", usual)


def _sampler(given: Given, file: TrialsFile, space: Space, mistakes: Mistakes) -> dict[str, Any]:
    setting = given["sampler"]
    if not file.space:
        if setting is not None:
            mistakes.add(
                given.origins["sampler"], "a list of trials is searched in its order; a sampler needs a search_space"
            )
        return {}
    settings: dict[str, Any] = {}
    with mistakes.collected():
        settings = sampler_settings(setting or USUAL)
    if settings:
        mistakes.problems += sampler_kind(settings["name"]).problems(space)
    return settings


def _rungs(
    ladder: Any, where: str, base: RunConfig, full: DataSummary | None, budget: Budget, factor: int, mistakes: Mistakes
) -> tuple[Rung, ...]:
    """The rungs of the study, smallest first."""
    if ladder is None:
        return (single_rung(budget, base),)
    if ladder != "auto":
        axes = [axis for axis in ("epochs", "subset", "size") if getattr(budget, axis) is not None]
        if axes:
            flags = ", ".join(f"budget {axis}" for axis in axes)
            mistakes.add(where, f"the ladder already sets the budget of each rung; leave out the {flags}")
        rungs, problems = rungs_of(ladder, base, budget.val_subset)
        for problem in problems:
            mistakes.add(where, problem)
        return rungs or (single_rung(Budget(), base),)
    top = single_rung(budget, base)
    group = base.training.batch_size * base.training.accumulate_grad_batches
    rungs = derived_ladder(top, factor, full.train_images if full is not None else group, group)
    if len(rungs) == 1:
        mistakes.add(where, f"{top.epochs} epochs are too few for a lower rung; give more with --budget-epochs")
    return rungs


def _pruner(given: Given, rungs: tuple[Rung, ...], base: RunConfig, mistakes: Mistakes) -> dict[str, Any]:
    usual = USUAL_ON_LADDER if len(rungs) > 1 else USUAL_ON_ONE_RUNG
    settings: dict[str, Any] = {"name": "none"}
    before = len(mistakes.problems)
    with mistakes.collected():
        threshold = given["early_stop_threshold"]
        settings = pruner_settings(given["pruner"] or usual, threshold, metric_of(base), rungs[-1].epochs)
    name = settings["name"]
    if given["reduction_factor"] is not None:
        if "reduction_factor" in settings:
            settings["reduction_factor"] = given["reduction_factor"]
        else:
            where = given.origins["reduction_factor"]
            mistakes.add(where, f"belongs to a ladder; the pruner {name} takes none")
    if len(mistakes.problems) == before and len(rungs) > 1 and not policy_kind(name).on_ladder:
        able = " or ".join(other for other in POLICIES if policy_kind(other).on_ladder)
        what = f"{name} compares values across rungs, whose sizes and subsets differ; on a ladder use {able}"
        mistakes.add(given.origins["pruner"], what)
    return settings
