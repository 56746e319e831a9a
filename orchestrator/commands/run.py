"""`run`: plan, search, report, promote; on a study that exists, continue it."""

from __future__ import annotations

from orchestrator.commands.session import work
from orchestrator.output.study_files import prepare_folder
from orchestrator.output.views import View
from orchestrator.planning.arguments import Request
from orchestrator.planning.continuation import merge
from orchestrator.planning.library_checks import try_out_all
from orchestrator.planning.request import make_plan
from orchestrator.storage.lock import StudyLock
from orchestrator.storage.opening import opened, read_plan


def run(request: Request, view: View, force: bool = False) -> int:
    """Plans a study and works on it; `force` accepts data that changed since it began. Returns the exit status."""
    plan, _ = make_plan(request)
    try_out_all(plan, request.trials)
    prepare_folder(plan)
    with StudyLock(plan.files):
        if plan.files.plan.exists():
            plan = merge(read_plan(plan.folder), plan, force)
        for note in plan.notes:
            view.say(note, urgent=note.startswith("warning:"))
        with opened(plan) as store:
            return work(plan, store, view, plan.promote, plan.promote_seeds, search=True)
