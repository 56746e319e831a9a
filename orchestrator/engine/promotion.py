"""Full training of the best trials: which are promoted, and which of them is best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.engine.full_stage import Promotion
from orchestrator.results.next_steps import retry_command
from orchestrator.study.plan import Plan
from orchestrator.study.ranking import ranked
from orchestrator.study.state import StudyState
from orchestrator.study.text import counted
from trainer.api import ConfigError, Problem


def chosen(plan: Plan, search: StudyState, top: int, seeds: int, full: StudyState | None = None) -> list[Promotion]:
    """The best `top` trials in `seeds` seeds each; fewer where fewer completed. `ConfigError` where a trial is to go
    on from a checkpoint that is gone, and a run of it is not among those of `full` already."""
    best = ranked(search, plan.metric)[:top]
    begun = {(run.source_trial, run.seed_index) for run in full.in_order()} if full else set()
    fresh = (t for t in best if any((t.trial_id, seed) not in begun for seed in range(seeds)))
    gone = [t for t in fresh if not (t.checkpoint and (plan.folder / t.checkpoint).is_file())]
    if plan.from_checkpoint and gone:
        advice = "its checkpoint is gone; take promote --from scratch"
        raise ConfigError([Problem(f"trial {t.trial_id}", advice) for t in gone])
    return [
        Promotion(trial.trial_id, seed, trial.overrides, trial.checkpoint if plan.from_checkpoint else "")
        for trial in best
        for seed in range(seeds)
    ]


def start_words(from_checkpoint: bool) -> str:
    return "from the search's checkpoints" if from_checkpoint else "from scratch"


def set_aside(plan: Plan, other: StudyState) -> Iterator[str]:
    """A line on the promoted runs of the other start, where there are any."""
    count = len(other.standing())
    if count:
        how = f"promote --from {'scratch' if plan.from_checkpoint else 'checkpoint'}"
        runs, are = counted(count, "promoted run"), "is" if count == 1 else "are"
        yield f"{runs} {start_words(not plan.from_checkpoint)} {are} set aside, in no mean or choice; {how} shows them"


def failed_before(plan: Plan, full: StudyState, runs: Sequence[Promotion]) -> Iterator[str]:
    """A line on each run to promote that failed in an earlier call: only a retry trains it again."""
    wanted = {(run.trial_id, run.seed_index) for run in runs}
    for failed in full.failures():
        if (failed.source_trial, failed.seed_index) in wanted:
            helps = failed.failure_kind != "config"
            advice = f"try it again with {retry_command(plan)}" if helps else "a retry cannot help"
            yield f"{failed.label}, {failed.failure_words}; {advice}"
