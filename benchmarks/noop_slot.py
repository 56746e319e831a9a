"""A slot's process whose sessions train nothing. Light to import: every new process does."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import Connection

from orchestrator.slots import worker
from trainer.api import Evaluation, Hooks, Outcome, RunConfig


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
