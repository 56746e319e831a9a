"""Experiment trackers beside `metrics.jsonl`: TensorBoard and Weights & Biases, each an extra to install."""

from __future__ import annotations

from collections.abc import Mapping
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
        for name, value in evaluation.metrics.items():
            self._writer.add_scalar(name, value, evaluation.step)
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


class Trackers:
    """All trackers that a configuration asks for; none is the usual case."""

    def __init__(self, config: RunConfig) -> None:
        wanted: Mapping[type[Any], bool] = {
            TensorBoardTracker: config.logging.tensorboard,
            WandbTracker: config.logging.use_wandb,
        }
        self._trackers: list[Tracker] = [kind(config) for kind, asked in wanted.items() if asked]

    def __bool__(self) -> bool:
        return bool(self._trackers)

    def log(self, evaluation: Evaluation) -> None:
        for tracker in self._trackers:
            tracker.log(evaluation)

    def log_step(self, step: int, loss: float, rate: float) -> None:
        """Logs the mean loss of the epoch so far and the rate, after an optimizer step."""
        for tracker in self._trackers:
            tracker.log_step(step, {"running_loss": loss, "running_lr": rate})

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()
        self._trackers = []


def _missing(key: str, package: str) -> ConfigError:
    what = f"needs the package {package}, which is not installed: pip install 'rungwise[{package}]'"
    return ConfigError([Problem(key, what)])
