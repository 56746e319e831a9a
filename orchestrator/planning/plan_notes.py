"""Notes and warnings about a plan, shown before anything runs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from orchestrator.planning.strategy import Strategy
from orchestrator.policies.table import policy_kind
from orchestrator.study.ladder import LONGEST_WARMUP, Budget, ladder_words
from orchestrator.study.plan import Plan
from orchestrator.study.space import as_json, varies
from trainer.api import LOSS, DataSummary, redefines_loss


def plan_notes(plan: Plan, budget: Budget, strategy: Strategy, full: DataSummary, top: DataSummary) -> Iterator[str]:
    """One line each; the report repeats those that begin with `warning:`."""
    yield top.words
    yield from top.notes
    yield from (f"warning: {warning}" for warning in top.warnings)
    yield from (f"warning: in full training: {warning}" for warning in full.warnings if warning not in top.warnings)
    yield from _budget_notes(plan, budget, strategy, full)
    yield from _schedule_notes(plan, budget)
    yield from _trial_notes(plan, strategy)
    yield from _loss_notes(plan)
    threshold = plan.threshold
    if plan.metric.name == "bleu" and threshold is not None and 0 < threshold <= 1:
        yield f"warning: BLEU is on a scale of 0 to 100; a threshold of {threshold:g} eliminates next to nothing"


def _budget_notes(plan: Plan, budget: Budget, strategy: Strategy, full: DataSummary) -> Iterator[str]:
    top = plan.top
    if len(plan.rungs) > 1:
        yield f"ladder{', derived from the budget' if strategy.derived else ''}: {ladder_words(plan.rungs)}"
        for number, rung in enumerate(plan.rungs[:-1], start=1):
            if rung.subset is not None and rung.subset > full.train_images:
                what = f"asks for {rung.subset} images; there are {full.train_images} to train on, and all are used"
                yield f"warning: rung {number} {what}"
    else:
        missing = [axis for axis in ("epochs", "subset", "size") if getattr(budget, axis) is None]
        if missing and not budget.is_full:
            yield f"budget: {', '.join(missing)} from the base configuration ({top.words()})"
        if budget.is_full and top == plan.full:
            yield f"no budget was given: every trial is trained in full ({top.words()})"
    if top.epochs > plan.base_config.training.epochs:
        epochs = plan.base_config.training.epochs
        yield f"warning: the budget's {top.epochs} epochs are more than full training's {epochs}"


def _schedule_notes(plan: Plan, budget: Budget) -> Iterator[str]:
    """What of the base's schedules is another in the search."""
    if plan.base_config.training.resize_schedule is not None:
        size = "the size of its rung" if len(plan.rungs) > 1 else f"{plan.top.size} px"
        what = "training.resize_schedule is off during the search, where every trial has images of"
        yield f"{what} {size}; promoted runs follow it"
    full, warmup = plan.full_steps_per_epoch, plan.warmup({})
    steps = plan.top.epochs * math.ceil(full * plan.images(plan.top) / plan.full_images)
    if warmup is not None and plan.warmup_steps >= steps and not budget.is_full:
        share = f"a trial has its share of full training, {min(warmup, LONGEST_WARMUP):.3g} of the progress"
        what = f"training.scheduler.warmup_steps={plan.warmup_steps} would never end in the {steps} steps of a trial"
        yield f"{what}: {share}"


def _trial_notes(plan: Plan, strategy: Strategy) -> Iterator[str]:
    if strategy.usual_trials:
        yield f"{plan.n_trials} trials, the default; --n-trials N sets the number"
    name = plan.pruner["name"]
    drawn = policy_kind(name).draws
    for flag, share, what in (("--anchors", plan.draws.anchors, "anchor"), ("--audit", plan.draws.audit, "audit")):
        if share and what not in drawn:
            yield f"warning: {flag} has no effect: with the pruner {name} no trial is paused at a rung"
    first = plan.pruner.get("n_startup_trials", 0)
    if plan.n_trials <= first:
        yield f"the {name} pruner needs {first} completed trials first: it can prune none of {plan.n_trials}"
    needed = (plan.reduction_factor or 1) ** (len(plan.rungs) - 1)
    if plan.n_trials < needed:
        ladder = f"{len(plan.rungs)} rungs with a reduction factor of {plan.reduction_factor:g}"
        yield f"{plan.n_trials} trials may be too few for the top rung: {ladder} need {needed:g} to fill it"


def _loss_notes(plan: Plan) -> Iterator[str]:
    """A criterion whose values are smaller would win every search by the loss."""
    if plan.metric.name != LOSS.name:
        return
    keys = [key for key in plan.parameters if redefines_loss(plan.base_config.task, key) and _differs(plan, key)]
    if keys:
        named = " and ".join(filter(None, (", ".join(keys[:-1]), keys[-1])))
        change = "changes" if len(keys) == 1 else "change"
        why = f"which {change} what the validation loss measures: their losses cannot be compared"
        yield f"warning: the trials differ in {named}, {why}"


def _differs(plan: Plan, key: str) -> bool:
    """Whether two trials may have different values of a key."""
    if any(dimension.key == key and varies(dimension.shape) for dimension in plan.space):
        return True
    values = {as_json(trial.get(key, plan.base_values[key])) for trial in plan.trials[: plan.n_trials]}
    return len(values) > 1
