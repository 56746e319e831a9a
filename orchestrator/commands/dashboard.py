"""`dashboard`: Optuna's dashboard on a study, with the samples that `exhibits.py` left for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from optuna.artifacts import FileSystemArtifactStore
from optuna_dashboard import run_server

from orchestrator.storage.database import open_storage
from orchestrator.storage.opening import read_plan


def serve_dashboard(folder: Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serves until it is interrupted; reading never holds up a running study."""
    plan = read_plan(folder)
    storage = open_storage(plan.storage_url)
    say(f"study {plan.name}: the dashboard listens on {host}, port {port}; Ctrl-C ends it")
    artifacts = plan.files.artifacts
    with suppress(OSError):  # a study that may only be read has them or has none
        artifacts.mkdir(exist_ok=True)  # a study that runs will have them later
    run_server(storage, host, port, FileSystemArtifactStore(artifacts) if artifacts.is_dir() else None)
