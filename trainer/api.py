"""What other packages may use of the trainer. Importing it imports no torch; `train`, `evaluate` and `predict` do.

resolve_config, load_config     YAML or mapping + dotted overrides → one validated configuration
known_keys                      every dotted key of a task
metric_of, check_data           the primary metric; the data checked and counted
train, evaluate, predict        the work
show_data                       what would be trained on, as a page
RunConfig, TaskDefaults, …      what a task of one's own is made of (docs/own-task.md)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.config.data_settings import DataSettings
from trainer.config.keys import Key, cheap_evaluation, known_keys, loss_keys, reads_data, redefines_loss
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
from trainer.config.schedule_checks import schedule_warnings
from trainer.config.section import AbsolutePath, Section, setting
from trainer.config.settings import CriterionSettings, RunConfig, TrainingSettings
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
from trainer.run.session import Session, open_session
from trainer.store.cache_folder import Hints, cache_dir, hint_key
from trainer.store.locks import sole_run
from trainer.store.text import METRICS, SAMPLES, read_metrics, write_whole
from trainer.task.checks import given
from trainer.task.defaults import FilesDefaults, TaskDefaults
from trainer.task.protocols import LOSS, DataSummary, Metric, Parts, Rows, Scores, Task, TaskFiles

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
    "show_data",
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
    """Checks every file that the run would read and counts what is in them; `DataError` names what is wrong.

    The warnings are also about what the schedule cannot do in the steps that these data give.
    """
    summary: DataSummary = given(config.task, "check", _files(config).check(config), DataSummary)
    return replace(summary, warnings=(*summary.warnings, *schedule_warnings(config, summary.train_rows)))


def prepare_data(config: RunConfig, progress: Callable[[int, int], None]) -> None:
    """Builds what is missing of the data: the built-in scenes, and the cache of decoded images.

    Raises a `ConfigError` for a configuration that `try_out` refuses.
    """
    try_out(config)
    _files(config).prepare(config, progress)


def try_out(config: RunConfig) -> None:
    """`ConfigError` for mistakes that only the training libraries can find; it may import them."""
    getattr(_files(config), "try_out", FilesDefaults.try_out)(config)


def warm_up() -> None:
    """Imports all that training needs, for a server process that is forked later: touches no tensor and no CUDA."""
    import torch
    import torch._dynamo  # the first optimizer imports it, which would take more than a second in every fork
    import torchvision  # noqa: F401

    import trainer.run.loop
    import trainer.run.run
    import trainer.run.writer  # noqa: F401

    for task in tasks():
        known_keys(task)  # built once, and not in every fork
    assert not torch.cuda.is_initialized(), "a process that has touched CUDA cannot be forked"  # type: ignore[no-untyped-call]


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
    """Seconds of an epoch with its evaluation, at best and at worst, and of opening a run; measured on a few steps in
    a temporary folder."""
    from trainer.run import timing

    return timing.time_epoch(config, steps)


def evaluate(checkpoint: Path, overrides: Mapping[str, Any], everything: bool | None = None) -> Mapping[str, float]:
    """The metrics of a checkpoint's model on its validation data, or with `everything` on all of the data; None
    stands for all where `overrides` name other data than it was trained on."""
    from trainer.run.inference import evaluate_checkpoint

    return evaluate_checkpoint(checkpoint, overrides, everything)


def predict(checkpoint: Path, folder: Path, overrides: Mapping[str, Any]) -> Iterable[Mapping[str, str | bytes]]:
    """Predictions for each image of a folder (for each text, where images are generated), from a checkpoint alone.

    A cell of `bytes` is a PNG."""
    from trainer.run.inference import predict_folder

    return predict_folder(checkpoint, folder, overrides)


def show_data(config: RunConfig, page: Path, progress: Callable[[int, int], None]) -> str:
    """Writes a page of HTML with what would be trained on, as the model gets it; returns its numbers as text.

    `ConfigError` where `page` cannot be written, or is another kind of file.
    """
    from trainer.run.data_view import show, writable

    writable(page)
    text, content = show(config, check_data(config), progress)
    write_whole(page, content)
    return text


def tasks() -> Sequence[str]:
    """The names of the built-in tasks."""
    return tuple(TASKS)
