"""Ways to run trials that train nothing: ours, in a warm slot or a new process for each, and Optuna's."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from noop_slot import run_noop_slot
from sqlalchemy import event

from orchestrator.engine.driver import Driver, Stop
from orchestrator.engine.ledger import Ledger
from orchestrator.engine.search_stage import SearchStage
from orchestrator.engine.stage import Stage
from orchestrator.output.study_files import StudyFiles, prepare_folder, write_plan
from orchestrator.planning.arguments import Request
from orchestrator.planning.request import make_plan
from orchestrator.slots.local import LocalSlot, LocalSlots
from orchestrator.slots.slot import Ended, Event
from orchestrator.storage.opening import open_search
from orchestrator.storage.store import open_store
from orchestrator.study.trial import TrialState

REPORTS = 5
SPACE = {
    "training.optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "training.batch_size": {"type": "int", "low": 4, "high": 64},
    "model.dropout": {"type": "float", "low": 0.0, "high": 0.6},
}


class NoopSlot(LocalSlot):
    """A local slot with such a process."""

    process = staticmethod(run_noop_slot)


class CleanSlot(NoopSlot):
    """The same with a new process for every trial."""

    def poll(self) -> Sequence[Event]:
        events = super().poll()
        self._leaving = self._leaving or any(isinstance(found, Ended) for found in events)
        return events


class Timed(StudyFiles):
    """Notes when the first trial is over: its slot is warm from then on."""

    began = 0.0

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        super().changed(stage, trial, final)
        if final and not self.began:
            self.began = time.monotonic()


def ours(trials: int, kind: type[NoopSlot]) -> float:
    """Milliseconds per trial of a whole study in one slot of a kind, after the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "space.json"
        file.write_text(json.dumps({"search_space": SPACE}), encoding="utf-8")
        wanted = {"n_trials": trials, "sampler": "random", "pruner": "none", "budget_epochs": REPORTS}
        plan, _ = make_plan(Request(file, output_dir=folder, **wanted))
        prepare_folder(plan)
        study = open_search(open_store(plan.storage_url), plan)
        stage = SearchStage(plan, study.load())
        write_plan(plan)
        slots = LocalSlots([kind("slot 1", None, 1, folder / "slots.log", 60.0)])
        files = Timed(plan, stage.state)
        driver = Driver(Ledger(stage, study, files), slots, plan.limits, Stop())
        try:
            assert driver.run() == "done"
            return (time.monotonic() - files.began) * 1000.0 / (trials - 1)
        finally:
            slots.close()


def optunas(trials: int, wal: bool) -> float:
    """The same of Optuna's own loop on SQLite."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        trial.suggest_int("batch_size", 4, 64)
        trial.suggest_float("dropout", 0.0, 0.6)
        for epoch in range(1, REPORTS + 1):
            trial.report(rate * epoch, epoch)
        return rate

    with tempfile.TemporaryDirectory() as name:
        storage = optuna.storages.RDBStorage(f"sqlite:///{name}/study.db")
        if wal:

            @event.listens_for(storage.engine, "connect")
            def _pragmas(connection: Any, _record: Any) -> None:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")

            storage.engine.dispose()
        study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
        began = time.monotonic()
        study.optimize(objective, n_trials=trials)
        return (time.monotonic() - began) * 1000.0 / trials


WAYS: dict[str, Callable[[int], float]] = {
    "a warm slot, study, files and all": lambda trials: ours(trials, NoopSlot),
    "a new process for every trial": lambda trials: ours(trials, CleanSlot),
    "Optuna's own loop on SQLite": lambda trials: optunas(trials, wal=False),
    "the same with a write-ahead log": lambda trials: optunas(trials, wal=True),
}
