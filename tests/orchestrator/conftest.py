"""What the orchestrator's tests share: one real study, run once by the real command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import HealthCheck, settings
from optuna.storages import RDBStorage
from orchestrator_parts import TINY, Bench, Command, World, orchestrator_command, tiny_plan
from typer.testing import CliRunner

from orchestrator.commands.cli import app
from orchestrator.study.plan import Plan

# Under load a step may take its time; and what a suite says must not depend on the day.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
REAL_TRIALS: Sequence[dict[str, Any]] = (
    {"training.optimizer.lr": 0.01},
    {"training.optimizer.lr": 0.003},
    {"training.optimizer.lr": 1e-5},
    {"training.optimizer.lr": 0.02},
    {"training.lr": "5e-3"},
    {"training.optimizer.lr": 0.003},
)
REAL_FILE = {
    "overrides": {**TINY, "training.epochs": 4, "evaluation.max_length": 12, "evaluation.samples": 2},
    "budget": {"epochs": 3, "subset": 30},
    "search": {"pruner": {"name": "median", "n_startup_trials": 2}},
    "promote": 1,
    "trials": REAL_TRIALS,
}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`python -m orchestrator …` in this process, from an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    return call


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Optuna's tables without a study; making them takes longer than most tests."""
    path = tmp_path_factory.mktemp("database") / "study.db"
    RDBStorage(f"sqlite:///{path}").engine.dispose()
    return path


@pytest.fixture
def planned(tmp_path: Path, empty_database: Path) -> Callable[..., Plan]:
    """Makes a tiny plan whose study folder stands ready."""

    def make(*args: Any, **sections: Any) -> Plan:
        plan = tiny_plan(tmp_path, *args, **sections)
        plan.folder.mkdir(parents=True, exist_ok=True)
        if not (plan.folder / "study.db").exists():
            shutil.copy(empty_database, plan.folder / "study.db")
        return plan

    return make


@pytest.fixture
def bench(planned: Callable[..., Plan]) -> Callable[..., Bench]:
    """A study of learning rates → curves, with what else `World` and the trials file take."""

    def make(curves: dict[float, Sequence[float]], world: dict[str, Any] | None = None, **sections: Any) -> Bench:
        listed = sections.pop("listed", list(curves))
        workers = sections.pop("workers", 1)
        plan = planned(listed, **sections)
        return Bench(plan, World(curves, **(world or {})), workers=workers, limits=plan.limits)

    return make


@pytest.fixture(scope="session")
def finished(shared_folder: Callable[..., Path]) -> Path:
    """Folder of a small study that the real command searched and promoted. Tests only read it."""

    def fill(home: Path) -> None:
        (home / "tiny.json").write_text(json.dumps(REAL_FILE), encoding="utf-8")
        done = orchestrator_command(home, "run", "tiny.json", "--threads-per-slot", "1")
        assert done.returncode == 0, done.stderr
        (home / "stderr.txt").write_text(done.stderr, encoding="utf-8")

    return shared_folder("finished", fill) / "outputs" / "tiny"


@pytest.fixture
def finished_copy(finished: Path, tmp_path: Path) -> Path:
    """The same study in a folder that a test may change; its trials file lies two folders up."""
    home = tmp_path / "copy"
    shutil.copytree(finished.parents[1], home)
    return home / "outputs" / "tiny"
