"""`close`: no more trials; what is paused becomes pruned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.commands.session import DONE
from orchestrator.output.study_files import StudyFiles, write_plan
from orchestrator.output.views import View, summary_line
from orchestrator.storage.lock import StudyLock
from orchestrator.storage.opening import open_search, read_full, read_plan
from orchestrator.study.state import PAUSED, PRUNED, RUNNING


def close(folder: Path, view: View) -> int:
    """Ends a study. Returns the exit status."""
    plan = replace(read_plan(folder), closed=True)
    with StudyLock(folder):
        study = open_search(plan)
        state = study.load(unfinished=True)
        for trial in state.with_status(PAUSED, RUNNING):
            trial.status = PRUNED
            state.decide(trial, f"trial {trial.trial_id} pruned after epoch {trial.epochs}: the study was closed")
            study.decided(trial)
            view.say(trial.reason)
        write_plan(plan)
        StudyFiles(plan, state, read_full(plan)).finish()
        study.close()
    view.say(f"closed: {summary_line(plan, state)}")
    return DONE
