"""Full training of the best trials: which, and who wins."""

from __future__ import annotations

from orchestrator.choice import choice_words, choose, full_values
from orchestrator.outputs import write_best
from orchestrator.plan import Plan
from orchestrator.stage import FullRun
from orchestrator.state import StudyState


def full_study_name(plan: Plan) -> str:
    """The promoted runs are an Optuna study of their own in the same storage, so that the dashboard shows both."""
    return f"{plan.name}/full"


def chosen(plan: Plan, search: StudyState, top: int, seeds: int) -> list[FullRun]:
    """The best `top` trials in `seeds` seeds each; fewer where fewer completed."""
    best = search.ranked(plan.metric.direction == "maximize")[:top]
    return [FullRun(trial.trial_id, seed, trial.overrides) for trial in best for seed in range(seeds)]


def crown(plan: Plan, search: StudyState, full: StudyState) -> str:
    """Writes `best.yaml` from the winner of the full runs, by the mean over its seeds; says who it is, and how sure."""
    choice = choose(full_values(full), plan.metric.direction == "maximize")
    if choice is None:
        return "no promoted run completed; best.yaml stays with the search's best"
    words = choice_words(choice, plan.metric.label)
    where = f"in full training ({plan.full.words()})"
    write_best(plan, search.trials[choice.trial_id - 1], f"study {plan.name}, {words}, {where}")
    return f"best {where}: {words}"
