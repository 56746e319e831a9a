"""Full training of the best trials: which, and who wins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.choice import choice_words, choose, full_values
from orchestrator.outputs import write_best
from orchestrator.plan import Plan
from orchestrator.records import retry_command
from orchestrator.stage import FullRun
from orchestrator.state import StudyState
from trainer.api import ConfigError, Problem


def full_study_name(plan: Plan) -> str:
    """The promoted runs are an Optuna study of their own in the same storage, so that the dashboard shows both."""
    return f"{plan.name}/full"


def chosen(plan: Plan, search: StudyState, top: int, seeds: int, from_checkpoint: bool = False) -> list[FullRun]:
    """The best `top` trials in `seeds` seeds each; fewer where fewer completed. `ConfigError` where a trial is to go
    on from a checkpoint that is gone."""
    best = search.ranked(plan.metric.direction == "maximize")[:top]
    gone = [t for t in best if not (t.checkpoint and (plan.folder / t.checkpoint).is_file())]
    if from_checkpoint and gone:
        raise ConfigError([Problem(f"trial {t.trial_id}", "its checkpoint is gone; take --from scratch") for t in gone])
    return [
        FullRun(trial.trial_id, seed, trial.overrides, trial.checkpoint if from_checkpoint else "")
        for trial in best
        for seed in range(seeds)
    ]


def failed_before(plan: Plan, full: StudyState, runs: Sequence[FullRun]) -> Iterator[str]:
    """A line on each run to promote that failed in an earlier call: only a retry trains it again."""
    wanted = {(run.trial_id, run.seed_index) for run in runs}
    for failed in full.failures():
        if (failed.source_trial, failed.seed_index) in wanted:
            helps = failed.failure_kind != "config"
            advice = f"try it again with {retry_command(plan)}" if helps else "a retry cannot help"
            yield f"{failed.label}, {failed.failure_words}; {advice}"


def crown(plan: Plan, search: StudyState, full: StudyState) -> str:
    """Writes `best.yaml` from the winner of the full runs, by the mean over its seeds; says who it is, and how sure."""
    choice = choose(full_values(full), plan.metric.direction == "maximize")
    if choice is None:
        return "no promoted run completed; best.yaml stays with the search's best"
    words = choice_words(choice, plan.metric.label, f" of study {plan.name}")
    write_best(plan, search.trials[choice.trial_id - 1], f"{words}; in full training ({plan.full.words()})")
    return f"best in full training: {words}"
