"""`status`: where a study stands."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from orchestrator.engine.promotion import set_aside
from orchestrator.output.views import summary_line
from orchestrator.results.record import trial_rows
from orchestrator.storage.opening import read_study
from orchestrator.study.trial import FAILED


def show_status(folder: Path, console: Console) -> None:
    """Prints a table of the trials, a summary, and the promoted runs."""
    study = read_study(folder)
    plan, search, full = study.plan, study.search, study.full
    table = Table("trial", "status", plan.metric.label, "loss", "epochs", "seconds", "reason", box=None)
    for row in trial_rows(plan, search):
        numbers = [f"{n:.4g}" if n is not None else "" for n in (row.value, row.loss)]
        table.add_row(str(row.trial_id), row.status, *numbers, str(row.epochs), f"{row.seconds:.1f}", row.reason)
    console.print(table, markup=False)
    for run in full.standing():
        value = f"{plan.metric.label} {run.value:.4g}" if run.value is not None else "no evaluation yet"
        words = f"{run.label}: {run.status}, epoch {run.epochs}"
        why = f"; {run.failure_words}" if run.status == FAILED else ""
        console.print(f"{words} of {plan.full.epochs}, {value}{why}", markup=False, soft_wrap=True)
    for line in set_aside(plan, study.aside):
        console.print(line, markup=False, soft_wrap=True)
    console.print(summary_line(plan, search), markup=False)
