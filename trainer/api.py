"""The one narrow door to the trainer. Importing it imports no torch; `train`, `evaluate` and `predict` do.

resolve_config, load_config     YAML or mapping + dotted overrides → one validated configuration
known_keys                      every dotted key of a task
metric_of, check_data           the primary metric; the data checked and counted
train, evaluate, predict        the work
RunConfig, TaskDefaults, …      what a task of one's own is made of (docs/own-task.md)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.declared import cheap_evaluation, loss_keys, reads_data, redefines_loss
from trainer.config.keys import Key, known_keys
from trainer.config.registry import TASKS, find_task, load
from trainer.config.resolve import (
    assumptions,
    canonical_overrides,
    load_config,
    parse_assignments,
    read_config_file,
    resolve_config,
    task_of,
)
from trainer.config.settings import (
    AbsolutePath,
    CriterionSettings,
    DataSettings,
    RunConfig,
    Section,
    TrainingSettings,
    setting,
)
from trainer.config.yaml import dump_yaml, parse_yaml, read_yaml
from trainer.data.splits import Selection, select
from trainer.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DeviceError,
    NonFiniteLoss,
    OutOfMemory,
    Problem,
    TaskError,
    TrainingError,
    guarded,
    no_room,
)
from trainer.outcome import Evaluation, Heartbeat, Hooks, Outcome
from trainer.store.cache_folder import cache_dir
from trainer.store.locks import sole_run
from trainer.store.memo import Hints, hint_key
from trainer.store.text import METRICS, SAMPLES, read_metrics, write_whole
from trainer.task.checks import given
from trainer.task.defaults import FilesDefaults, TaskDefaults
from trainer.task.protocols import LOSS, DataSummary, Metric, Parts, Rows, Scores, Task, TaskFiles

if TYPE_CHECKING:
    from trainer.run import Run
    from trainer.writer import RunWriter

__all__ = [
    "LOSS",
    "METRICS",
    "SAMPLES",
    "AbsolutePath",
    "CheckpointError",
    "ConfigError",
    "CriterionSettings",
    "DataError",
    "DataSettings",
    "DataSummary",
    "DeviceError",
    "Evaluation",
    "FilesDefaults",
    "Heartbeat",
    "Hints",
    "Hooks",
    "Key",
    "Metric",
    "NonFiniteLoss",
    "OutOfMemory",
    "Outcome",
    "Parts",
    "Problem",
    "Rows",
    "RunConfig",
    "Scores",
    "Section",
    "Selection",
    "Session",
    "Task",
    "TaskDefaults",
    "TaskError",
    "TaskFiles",
    "TrainingError",
    "TrainingSettings",
    "assumptions",
    "cache_dir",
    "canonical_overrides",
    "cheap_evaluation",
    "check_data",
    "dump_yaml",
    "evaluate",
    "guarded",
    "hint_key",
    "known_keys",
    "load_config",
    "loss_keys",
    "metric_of",
    "no_room",
    "open_session",
    "parse_assignments",
    "parse_yaml",
    "predict",
    "prepare_data",
    "read_config_file",
    "read_metrics",
    "read_yaml",
    "reads_data",
    "redefines_loss",
    "resolve_config",
    "select",
    "setting",
    "task_of",
    "tasks",
    "time_epoch",
    "train",
    "try_out",
    "warm_up",
    "write_whole",
]


def _files(config: RunConfig) -> TaskFiles:
    files: TaskFiles = load(find_task(config.task).files)
    return files


def metric_of(config: RunConfig) -> Metric:
    """The primary metric; the validation loss where the task's own is switched off."""
    return _files(config).metric(config)


def check_data(config: RunConfig) -> DataSummary:
    """Checks every file that the run would read and counts what is in them; `DataError` names what is wrong."""
    return given(config.task, "check", _files(config).check(config), DataSummary)


def prepare_data(config: RunConfig, progress: Callable[[int, int], None]) -> None:
    """Builds what the data still lacks: the built-in scenes, and the cache of decoded images.

    Not for a configuration that `try_out` refuses, with a `ConfigError`.
    """
    try_out(config)
    _files(config).prepare(config, progress)


def try_out(config: RunConfig) -> None:
    """`ConfigError` for what only the libraries that train can tell of a configuration, which it may import."""
    getattr(_files(config), "try_out", FilesDefaults.try_out)(config)


@dataclass
class Session:
    """A run kept in memory between calls, so that continuing it reloads nothing."""

    run: Run
    writer: RunWriter

    def train(self, until_epoch: int, hooks: Hooks) -> Outcome:
        """Trains on to the end of `until_epoch`."""
        from trainer.loop import train_until

        try:
            return train_until(self.run, until_epoch, hooks, self.writer)
        except DataError as error:
            raise DataError(_own_words(str(error))) from None

    def climb(self, config: RunConfig, rung: int) -> None:
        """Goes on under the configuration of a higher rung: other images, another size, more epochs."""
        self.run.climb(config, rung)

    def close(self) -> None:
        self.run.close()
        self.writer.close()


def open_session(
    config: RunConfig, hooks: Hooks, rung: int = 1, resume: bool = False, free: tuple[str, ...] = ()
) -> Session:
    """A run ready to train: from `checkpoint.resume`, with `resume` from its own folder, else from its first epoch,
    with fresh weights or those of `checkpoint.weights`.

    `rung` counts from 1 and is written beside each evaluation; on a higher one than the checkpoint's, subset and
    size may differ. `free` are further keys that may differ from the
    checkpoint's. A damaged checkpoint is said through `hooks.say` and the one before it is used.
    """
    from trainer.checkpoints.files import load_checkpoint, load_newest
    from trainer.resume import load_for_resume, taken_along
    from trainer.run import open_run
    from trainer.writer import RunWriter

    found = None
    if config.checkpoint.resume is not None:
        found = load_for_resume(config.checkpoint.resume)
    elif resume:
        found = load_newest(config.checkpoint.dir)
    state, source = (found[0], found[1]) if found else (None, None)
    weights = None
    if state is None and config.checkpoint.weights is not None:
        weights = load_checkpoint(config.checkpoint.weights)
        hooks.say(f"starts from the weights of {config.checkpoint.weights}")
    for line in found[2] if found else ():
        hooks.say(f"warning: {line}")
    if state is not None:
        hooks.say(f"continues from {source} (epoch {state['progress']['epoch']})")
    run = open_run(config, state, rung, hooks.say, free, hooks.preparing, weights)
    along = taken_along(run, source, hooks.say) if source else {}
    writer = RunWriter(config, run.history, source, along)
    if writer.replaced:
        hooks.say(writer.replaced)
    return Session(run, writer)


def warm_up() -> None:
    """Imports all that training needs, for a server that is copied later: no tensor is touched, nor is CUDA."""
    import torch
    import torch._dynamo  # with the first optimizer it would come anyway, in more than a second of every copy
    import torchvision  # noqa: F401

    import trainer.loop
    import trainer.run
    import trainer.writer  # noqa: F401

    for task in tasks():
        known_keys(task)  # read off the schema once, and not in every copy
    assert not torch.cuda.is_initialized(), "a process that has touched CUDA cannot be copied"  # type: ignore[no-untyped-call]


def train(
    config: RunConfig, until_epoch: int | None = None, hooks: Hooks | None = None, resume: bool = False
) -> Outcome:
    """Trains one configuration to the end of `until_epoch` (default: all its epochs).

    Raises a `TrainingError`: `ConfigError`, `DataError`, `CheckpointError`, `DeviceError`, `NonFiniteLoss`,
    `OutOfMemory`. With `resume`, goes on from the newest checkpoint in `checkpoint.dir`, where there is one.
    """
    hooks = hooks or Hooks()
    with sole_run(config.checkpoint.dir):
        session = open_session(config, hooks, resume=resume)
        try:
            return session.train(until_epoch or config.training.epochs, hooks)
        finally:
            session.close()


def time_epoch(config: RunConfig, steps: int = 12) -> tuple[float, float, float]:
    """Seconds of an epoch with its evaluation, fast and slow, and of opening a run; from a few steps trained in a
    temporary folder."""
    from trainer.timing import time_steps

    timing = time_steps(config, steps)
    return timing.low, timing.high, timing.opening


def evaluate(checkpoint: Path, overrides: Mapping[str, Any], everything: bool | None = None) -> Mapping[str, float]:
    """The metrics of a checkpoint's model on its validation data, or with `everything` on all of the data; None
    stands for all where `overrides` name other data than it was trained on."""
    from trainer.inference import evaluate_checkpoint

    return evaluate_checkpoint(checkpoint, overrides, everything)


def predict(checkpoint: Path, folder: Path, overrides: Mapping[str, Any]) -> Iterable[Mapping[str, str | bytes]]:
    """Rows for each image of a folder, or for each text where images are made, from a checkpoint alone. A cell of
    `bytes` is a PNG."""
    from trainer.inference import predict_folder

    return predict_folder(checkpoint, folder, overrides)


def _own_words(message: str) -> str:
    """An error that crossed from a loading process drags its traceback along; its last line is what it said."""
    if "Original Traceback" not in message:
        return message
    return re.sub(r"^[\w.]+: ", "", message.strip().splitlines()[-1])


def tasks() -> Sequence[str]:
    """The names of the built-in tasks."""
    return tuple(TASKS)
