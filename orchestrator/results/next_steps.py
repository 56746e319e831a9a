"""The next steps after a study: exact commands, with their cost."""

from __future__ import annotations

from pathlib import Path

from orchestrator.results.timings import study_timings
from orchestrator.study.plan import Plan
from orchestrator.study.ranking import ranked
from orchestrator.study.state import StudyState
from orchestrator.study.text import duration


def next_steps(plan: Plan, search: StudyState, full: StudyState) -> list[tuple[str, str]]:
    """Pairs of what a step is for, and its command."""
    folder = _shown(plan.folder)
    steps: list[tuple[str, str]] = []
    leaders = ranked(search, plan.metric)
    trials, runs = search.failures(), full.failures()
    if any(one.failure_kind != "config" for one in (*trials, *runs)):  # an invalid configuration stays invalid
        what = " and ".join(["trials"] * bool(trials) + ["promoted runs"] * bool(runs))
        steps.append((f"try the failed {what} once more", retry_command(plan)))
    if leaders and not full.trials:
        cost = cost_words(plan, 1)
        steps.append((f"train the best trial in full ({cost})", f"python -m orchestrator promote {folder} --top 1"))
    if leaders:
        why = "train the best configuration anywhere"
        if full.trials and plan.from_checkpoint:  # best.yaml names no file of the study
            why += ", from scratch: the promoted runs started from the search's checkpoints"
        steps.append((why, f"python -m trainer --config {folder}/best.yaml"))
    steps.append(("look at it in the Optuna dashboard", f"python -m orchestrator dashboard {folder}"))
    return steps


def retry_command(plan: Plan) -> str:
    return f"python -m orchestrator retry {_shown(plan.folder)} --failed"


def cost_words(plan: Plan, runs: int) -> str:
    """The cost of `runs` runs at full budget, estimated from the times of the search's epochs."""
    epochs = runs * plan.full.epochs
    words = f"{epochs} epochs at full budget"
    timings = study_timings(plan)
    if not timings or not plan.full_steps_per_epoch:
        return words
    rung = plan.rungs[max(timings) - 1]
    pixels = (plan.full.size / rung.size) ** 2
    images = plan.images(plan.full) / plan.images(rung)
    seconds = (timings[max(timings)].low + timings[max(timings)].high) / 2.0
    return f"{words}, about {duration(seconds * epochs * pixels * images)}"


def _shown(folder: Path) -> str:
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
