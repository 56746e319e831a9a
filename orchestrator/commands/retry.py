"""The command `retry --failed`: trains failed trials and promoted runs once more, from their checkpoints."""

from __future__ import annotations

from pathlib import Path

from orchestrator.commands.session import work
from orchestrator.engine.reopen import reopen_all
from orchestrator.output.views import View
from orchestrator.storage.lock import StudyLock
from orchestrator.storage.opening import existing, read_full, read_plan
from orchestrator.study.trial import PAUSED, RUNNING


def retry(folder: Path, view: View) -> int:
    """Opens a new trial for each that failed, and works on the study. Returns the exit status."""
    plan = read_plan(folder)
    with StudyLock(plan.files), existing(plan) as store:
        view.say(reopen_all(plan, store))
        # Includes what an earlier retry did not finish: the same command continues it.
        again = bool(read_full(store, plan).with_status(RUNNING, PAUSED))
        return work(plan, store, view, plan.promote, plan.promote_seeds, search=True, again=again)
