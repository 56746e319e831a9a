"""The command `close`: ends a study; what is paused becomes pruned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.commands.session import DONE
from orchestrator.engine.ledger import Ledger
from orchestrator.engine.search_stage import SearchStage
from orchestrator.engine.watcher import Watchers
from orchestrator.output.study_files import StudyFiles, write_plan
from orchestrator.output.views import View, summary_line
from orchestrator.storage.lock import StudyLock
from orchestrator.storage.opening import existing, open_search, read_full, read_plan


def close(folder: Path, view: View) -> int:
    """Ends a study. Returns the exit status."""
    plan = replace(read_plan(folder), closed=True)
    with StudyLock(plan.files), existing(plan) as store:
        study = open_search(store, plan)
        stage = SearchStage(plan, study.load())
        Ledger(stage, study, Watchers(view)).closes_all()
        write_plan(plan)
        StudyFiles(plan, stage.state, read_full(store, plan)).finish()
    view.say(f"closed: {summary_line(plan, stage.state)}")
    return DONE
