"""Full training of the best trials: which, and who wins."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean, stdev

from orchestrator.outputs import write_best
from orchestrator.plan import Plan
from orchestrator.stage import FullRun
from orchestrator.state import COMPLETED, StudyState


def full_study_name(plan: Plan) -> str:
    """The promoted runs are an Optuna study of their own in the same storage, so that the dashboard shows both."""
    return f"{plan.name}/full"


def chosen(plan: Plan, search: StudyState, top: int, seeds: int) -> list[FullRun]:
    """The best `top` trials in `seeds` seeds each; fewer where fewer completed."""
    best = search.ranked(plan.metric.direction == "maximize")[:top]
    return [FullRun(trial.trial_id, seed, trial.overrides) for trial in best for seed in range(seeds)]


def crown(plan: Plan, search: StudyState, full: StudyState) -> str:
    """Writes `best.yaml` from the winner of the full runs, by the mean over its seeds; says who it is."""
    values: dict[int, list[float]] = defaultdict(list)
    for run in full.in_order():
        if run.status == COMPLETED and run.value is not None:
            values[run.source_trial].append(run.value)
    if not values:
        return "no promoted run completed; best.yaml stays with the search's best"
    sign = 1.0 if plan.metric.direction == "maximize" else -1.0
    winner = max(values, key=lambda trial_id: (sign * fmean(values[trial_id]), -trial_id))
    found = values[winner]
    spread = f" ± {stdev(found):.3g}" if len(found) > 1 else ""
    seeds = f" over {len(found)} seeds" if len(found) > 1 else ""
    about = f"trial {winner} of study {plan.name}: {plan.metric.label} {fmean(found):.4g}{spread}{seeds}"
    write_best(plan, search.trials[winner - 1], f"{about} in full training ({plan.full.words()})")
    return f"best in full training: {about}"
