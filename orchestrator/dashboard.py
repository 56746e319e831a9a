"""`dashboard`: Optuna's dashboard on a study. The only file that needs optuna-dashboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from optuna_dashboard import run_server

from orchestrator.folder import read_plan
from orchestrator.study import open_storage


def serve_dashboard(folder: Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serves until it is interrupted; reading never holds up a running study."""
    plan = read_plan(folder)
    storage = open_storage(plan.storage_url)
    say(f"study {plan.name}: the dashboard listens on {host}, port {port}; Ctrl-C ends it")
    run_server(storage, host, port)
