"""Experiment trackers beside `metrics.jsonl`: TensorBoard and Weights & Biases, each an extra to install."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from trainer.config.settings import RunConfig
from trainer.errors import ConfigError, Problem
from trainer.outcome import Evaluation


class Tracker(Protocol):
    """A tracker: gets each evaluation once, and every `logging.every_n_steps` the running epoch's numbers."""

    def log(self, evaluation: Evaluation) -> None: ...
    def log_step(self, step: int, numbers: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class TensorBoardTracker:
    """TensorBoard: one scalar for each metric, at the optimizer step of the evaluation."""

    def __init__(self, config: RunConfig) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise _missing("logging.tensorboard", "tensorboard") from None
        folder = config.logging.tensorboard_dir / config.experiment_name
        self._writer: Any = SummaryWriter(str(folder))

    def log(self, evaluation: Evaluation) -> None:
        self.log_step(evaluation.step, evaluation.metrics)
        self._writer.flush()

    def log_step(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WandbTracker:
    """Weights & Biases: one run of a project; `WANDB_MODE=offline` keeps it on this machine."""

    def __init__(self, config: RunConfig) -> None:
        try:
            import wandb
        except ImportError:
            raise _missing("logging.use_wandb", "wandb") from None
        settings = config.logging.wandb
        self._run: Any = wandb.init(
            project=settings.project,
            entity=settings.entity,
            name=config.experiment_name,
            config=config.plain(),
            dir=str(config.logging_dir),
        )

    def log(self, evaluation: Evaluation) -> None:
        self._run.log({"epoch": evaluation.epoch, **evaluation.metrics}, step=evaluation.step)

    def log_step(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        self._run.finish()


def open_trackers(config: RunConfig) -> list[Tracker]:
    """All trackers that a configuration asks for; none is the usual case."""
    wanted: tuple[tuple[Callable[[RunConfig], Tracker], bool], ...] = (
        (TensorBoardTracker, config.logging.tensorboard),
        (WandbTracker, config.logging.use_wandb),
    )
    return [kind(config) for kind, asked in wanted if asked]


def _missing(key: str, package: str) -> ConfigError:
    what = f"needs the package {package}, which is not installed: pip install 'rungwise[{package}]'"
    return ConfigError([Problem(key, what)])
