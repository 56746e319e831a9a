"""The environment of a study: versions, machine, data and commit."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path

from orchestrator.study.folder import StudyFolder
from orchestrator.study.plan import Plan

_PACKAGES = ("torch", "torchvision", "optuna", "numpy", "sacrebleu", "rungwise")


def write_environment(plan: Plan) -> None:
    """Writes `environment.json`, which is for people only."""
    environment = {
        "python": sys.version.split()[0],
        **{name: version for name in _PACKAGES if (version := _version(name))},
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cores": str(os.cpu_count()),
        "data fingerprint": plan.data_fingerprint,
        "git commit": _commit(Path.cwd()),
        "command": " ".join(["python -m orchestrator", *sys.argv[1:]]),
        "written": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    plan.files.write(plan.files.environment, json.dumps(environment, indent=2) + "\n")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _commit(folder: Path) -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return done.stdout.strip() or "none"


def read_environment(files: StudyFolder) -> tuple[dict[str, str], str]:
    """The environment, empty where there is none, and a warning where its file is damaged."""
    path = files.environment
    if not path.is_file():
        return {}, ""
    try:
        return {str(name): str(value) for name, value in json.loads(path.read_bytes()).items()}, ""
    except (OSError, ValueError, AttributeError) as error:
        return {}, f"{path}: cannot be read ({error}); the environment is not shown"
