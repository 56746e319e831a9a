"""What a trial costs beside its training: trials that train nothing, reported five times and recorded for good.

    python benchmarks/noop_trials.py [--trials 100] [--rounds 5]

The real driver, policy, ledger and files, one warm slot in a process of its own, and a run in it that reports five
evaluations at once. Beside it, in the same run and in turns: Optuna's own loop with five reports for each trial, on
SQLite as it comes and with a write-ahead log; and what a slot's process costs that is made for one trial, as a copy of
the fork server. Milliseconds of wall time per trial, median over rounds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import optuna
from sqlalchemy import event

from orchestrator import worker
from orchestrator.driver import Driver, Stop
from orchestrator.folder import open_search
from orchestrator.ladder import Budget
from orchestrator.options import Request
from orchestrator.outputs import StudyFiles, prepare_folder, write_plan
from orchestrator.request import make_plan
from orchestrator.slots.local import LocalSlot, LocalSlots
from orchestrator.slots.slot import Ended, Event
from orchestrator.stage import SearchStage
from trainer.api import Evaluation, Hooks, Outcome, RunConfig

REPORTS = 5
SPACE = {
    "training.optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "training.batch_size": {"type": "int", "low": 4, "high": 64},
    "model.dropout": {"type": "float", "low": 0.0, "high": 0.6},
}


class NoRun:
    """As much of a run as a worker looks at."""

    history: Sequence[Evaluation] = ()


class NoSession:
    """Stands in for a training session: reports every epoch at once, the value a function of the rate."""

    def __init__(self, config: RunConfig) -> None:
        self.run, self.rate = NoRun(), config.training.optimizer.lr

    def train(self, until_epoch: int, hooks: Hooks) -> Outcome:
        for epoch in range(1, until_epoch + 1):
            value = 40.0 * self.rate / (self.rate + 1e-3) * epoch / until_epoch
            hooks.report(Evaluation(epoch, epoch, 1, 0.0, value, {"train_loss": 1.0, "val_loss": 1.0, "bleu": value}))
        return Outcome("reached", until_epoch, until_epoch, 0.0, (), "", "cpu", "fp32")

    def close(self) -> None:
        """Nothing is open."""


def run_noop_slot(connection: Connection, threads: int, gpu: str | None, log_file: str) -> None:
    """A slot's process whose sessions train nothing."""
    worker.open_session = lambda config, *_, **__: NoSession(config)  # type: ignore[assignment, return-value]
    worker.run_slot(connection, threads, gpu, log_file)


class NoopSlot(LocalSlot):
    """A local slot with such a process."""

    process = staticmethod(run_noop_slot)


class CleanSlot(NoopSlot):
    """The same with a new process for every trial."""

    def poll(self) -> Sequence[Event]:
        events = super().poll()
        self._leaving = self._leaving or any(isinstance(found, Ended) for found in events)
        return events


def ours(trials: int, kind: type[NoopSlot]) -> float:
    """Milliseconds per trial of a whole study in one slot of a kind."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "space.json"
        file.write_text(json.dumps({"search_space": SPACE}), encoding="utf-8")
        budget = Budget(epochs=REPORTS)
        plan, _ = make_plan(
            Request(trials=file, output_dir=folder, n_trials=trials, sampler="random", pruner="none", budget=budget)
        )
        prepare_folder(plan)
        stage = SearchStage(plan, open_search(plan))
        write_plan(plan)
        slots = LocalSlots([kind("slot 1", None, 1, folder / "slots.log", 60.0)])
        driver = Driver(stage, slots, plan.limits, StudyFiles(plan, stage.state), Stop())
        try:
            began = time.monotonic()
            assert driver.run() == "done"
            return (time.monotonic() - began) * 1000.0 / trials
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    said = parser.parse_args()
    ours(2, NoopSlot)  # starts the fork server, and draws the built-in data where they are not there yet
    took: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(said.rounds):
        for name, way in WAYS.items():
            took[name].append(way(said.trials))
    print(
        f"{said.trials} trials of {REPORTS} reports, median of {said.rounds} rounds (lowest to highest): ms per trial"
    )
    for name, found in took.items():
        print(f"{name:40} {median(found):7.1f}  ({min(found):.1f} to {max(found):.1f})")


if __name__ == "__main__":
    main()
