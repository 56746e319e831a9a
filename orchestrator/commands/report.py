"""`report`: CSV and HTML written again, from the study alone."""

from __future__ import annotations

from pathlib import Path

from orchestrator.output.study_files import REPORT, write_all
from orchestrator.storage.lock import is_held
from orchestrator.storage.opening import read_state


def report(folder: Path) -> Path:
    """Writes the tables and the report of a study folder; returns the report's path."""
    write_all(*read_state(folder), in_progress=is_held(folder))
    return folder / REPORT
