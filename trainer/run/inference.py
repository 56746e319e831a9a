"""The use of a trained model: metrics on a data set, predictions for a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from trainer.checkpoints.files import fill_model, load_checkpoint
from trainer.config.keys import known_keys, roles_of
from trainer.config.resolve import as_now, canonical_overrides, resolve_config
from trainer.config.settings import RunConfig
from trainer.data.batches import EpochBatches, build_loader, close_loader
from trainer.data.loaders import size_at
from trainer.errors import ConfigError, DataError, Problem
from trainer.learning.precision import Precision, decide_device, decide_precision
from trainer.run.run import task_for
from trainer.task.batches import to_device
from trainer.task.checks import given_scores
from trainer.task.protocols import Task

_RANGE_ONCE = [0.0, 65535.0]  # of images of more than 8 bits, before there was a key for it


def evaluate_checkpoint(path: Path, overrides: Mapping[str, Any], everything: bool | None) -> Mapping[str, float]:
    """The metrics of a checkpoint's model; `overrides` may name other data, another device or beam size."""
    config, task, model, precision = _load(path, overrides)
    rows = task.open_rows(names_other_data(config.task, overrides) if everything is None else everything)
    batches = EpochBatches(len(rows.val), config.training.val_batch_size or config.training.batch_size, 0, False)
    loader = build_loader(rows.val, batches, num_workers=0, prefetch_factor=1, pin_memory=False)
    try:
        with torch.inference_mode(), precision.autocast():
            scores = task.evaluate(model, (to_device(batch, precision.device) for batch in loader))
    finally:
        close_loader(loader)
    return given_scores(config.task, scores).metrics


def predict_folder(path: Path, folder: Path, overrides: Mapping[str, Any]) -> Iterable[Mapping[str, str | bytes]]:
    """Predictions for a folder: at least one row for each image or prompt; a cell of `bytes` is a PNG."""
    if not folder.is_dir():
        raise DataError(f"{folder}: {'a file; name its folder' if folder.is_file() else 'no such folder'}")
    _, task, model, precision = _load(path, overrides)
    with torch.inference_mode(), precision.autocast():
        yield from task.predict(model, folder, precision.device)


def names_other_data(task: str, overrides: Mapping[str, Any]) -> bool:
    """Whether overrides name files or built-in data, which need not be the data that the model was trained on."""
    keys = known_keys(task)
    data_keys = [key for key in canonical_overrides(overrides, task) if key.startswith("data.")]
    return any(key.startswith("data.scenes") or keys[key].kind == "path" for key in data_keys)


def _load(path: Path, overrides: Mapping[str, Any]) -> tuple[RunConfig, Task, torch.nn.Module, Precision]:
    state = load_checkpoint(path)
    config = resolve_config(state["config"], _overrides_for_use(state), overrides)
    _check_same_model(state["config"], config, canonical_overrides(overrides, config.task))
    device = decide_device(config.device)
    task = task_for(config, state["extras"])
    model = task.build_model(weights=False)
    fill_model(model, state, f"{path}: its weights do not fit its own configuration")
    asked = config.training.precision
    if asked == "fp16" and device.type == "cpu":
        asked = "auto"  # a model trained on a GPU can be used without one
    return config, task, model.to(device).eval(), decide_precision(asked, device)


def _overrides_for_use(state: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides under which a checkpoint's model is used: at the image size of its last training and evaluation."""
    last = size_at(resolve_config(state["config"]), max(1, state["progress"]["epoch"]))
    data = state["config"]["data"]
    # Each image is read once: a cache would gain nothing.
    return {
        "checkpoint.resume": None, "device": "auto", "data.cache_gb": 0.0,
        "data.image_size": last, "training.resize_schedule": None,
        "data.value_range": state.get("value_range", data.get("value_range", _RANGE_ONCE)),
    }  # fmt: skip


def _check_same_model(trained: Mapping[str, Any], asked: RunConfig, overrides: Mapping[str, Any]) -> None:
    """Refuses overrides under which the weights would be read as those of another model."""
    before, now = as_now(trained, asked)
    problems = [
        Problem(key, f"belongs to what was trained, with {before.get(key)!r}; leave it as it is")
        for key in overrides
        if before.get(key) != now.get(key) and "use" not in roles_of(asked.task, key)
    ]
    if problems:
        raise ConfigError(problems)
