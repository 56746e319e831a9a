"""Full training of the best trials: which, and who wins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.engine.stage import FullRun
from orchestrator.output.study_files import write_best
from orchestrator.results.choice import choice_words, choose, full_values
from orchestrator.results.record import retry_command
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState
from trainer.api import ConfigError, Problem


def full_study_name(plan: Plan) -> str:
    """The promoted runs are an Optuna study of their own in the same storage, so that the dashboard shows both.

    Those that go on from a checkpoint are another: they had more epochs, and one mean over both would mean nothing.
    """
    return f"{plan.name}/full{'-continued' if plan.from_checkpoint else ''}"


def chosen(plan: Plan, search: StudyState, top: int, seeds: int, full: StudyState | None = None) -> list[FullRun]:
    """The best `top` trials in `seeds` seeds each; fewer where fewer completed. `ConfigError` where a trial is to go
    on from a checkpoint that is gone, and a run of it is not among those of `full` already."""
    best = search.ranked(plan.metric.direction == "maximize")[:top]
    begun = {(run.source_trial, run.seed_index) for run in full.in_order()} if full else set()
    fresh = (t for t in best if any((t.trial_id, seed) not in begun for seed in range(seeds)))
    gone = [t for t in fresh if not (t.checkpoint and (plan.folder / t.checkpoint).is_file())]
    if plan.from_checkpoint and gone:
        advice = "its checkpoint is gone; take promote --from scratch"
        raise ConfigError([Problem(f"trial {t.trial_id}", advice) for t in gone])
    return [
        FullRun(trial.trial_id, seed, trial.overrides, trial.checkpoint if plan.from_checkpoint else "")
        for trial in best
        for seed in range(seeds)
    ]


def start_words(from_checkpoint: bool) -> str:
    return "from the search's checkpoints" if from_checkpoint else "from scratch"


def set_aside(plan: Plan, other: StudyState) -> Iterator[str]:
    """A line on the promoted runs of the other start, where there are any."""
    count = len(other.standing())
    if count:
        runs, are = ("1 promoted run", "is") if count == 1 else (f"{count} promoted runs", "are")
        how = f"promote --from {'scratch' if plan.from_checkpoint else 'checkpoint'}"
        yield f"{runs} {start_words(not plan.from_checkpoint)} {are} set aside, in no mean or choice; {how} shows them"


def failed_before(plan: Plan, full: StudyState, runs: Sequence[FullRun]) -> Iterator[str]:
    """A line on each run to promote that failed in an earlier call: only a retry trains it again."""
    wanted = {(run.trial_id, run.seed_index) for run in runs}
    for failed in full.failures():
        if (failed.source_trial, failed.seed_index) in wanted:
            helps = failed.failure_kind != "config"
            advice = f"try it again with {retry_command(plan)}" if helps else "a retry cannot help"
            yield f"{failed.label}, {failed.failure_words}; {advice}"


def crown(plan: Plan, search: StudyState, full: StudyState) -> str:
    """Writes `best.yaml` from the winner of the full runs, by the mean over its seeds; says who it is, and how sure.

    The file holds no path into the study, so where the runs went on from a checkpoint its head says that it does not.
    """
    choice = choose(full_values(full), plan.metric.direction == "maximize")
    if choice is None:
        return "no promoted run completed; best.yaml stays as it is"
    words = choice_words(choice, plan.metric.label, f" of study {plan.name}")
    about = f"{words}; in full training ({plan.full.words()})"
    start = ""
    if plan.from_checkpoint:
        start = f" {start_words(True)}"
        about += f"{start}\nthis file does not start from them: it is another experiment than those runs"
    write_best(plan, search.trials[choice.trial_id - 1], about)
    return f"best in full training{start}: {words}"
