"""`report`: CSV and HTML written again, from the study alone."""

from __future__ import annotations

from pathlib import Path

from orchestrator.output.study_files import write_all
from orchestrator.storage.lock import is_held
from orchestrator.storage.opening import read_study


def report(folder: Path) -> Path:
    """Writes the tables and the report of a study folder; returns the report's path."""
    study = read_study(folder)
    write_all(study.plan, study.search, study.full, in_progress=is_held(study.plan.files))
    return study.plan.files.report
