"""What happens when memory is too small: a batch is computed in parts; the size that fits is kept for similar runs.

A step or an evaluation that runs out of memory is done again from its beginning with half the micro-batch, until it
fits. Gradients accumulate over the parts, so the effective batch stays what it was.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from torch import nn

from trainer.errors import OutOfMemory
from trainer.outcome import Hooks
from trainer.store.cache_folder import Hints, hint_key

if TYPE_CHECKING:
    from trainer.run.run import Run

Phase = Literal["training", "evaluation"]
_SIZES: dict[Phase, str] = {"training": "micro_batch", "evaluation": "val_micro_batch"}  # attributes of the progress
Result = TypeVar("Result")
_HINTS = Hints("micro_batches.json")


def fitting(run: Run, phase: Phase, hooks: Hooks, work: Callable[[], Result]) -> Result:
    """The result of `work`, repeated with smaller micro-batches until memory suffices.

    Raises `OutOfMemory` where not even one sample fits. Random generators are not reset: with dropout the repeated
    step draws others, as it would in any case for parts of another shape.
    """
    halved = False
    while True:
        try:
            result = work()
        except torch.OutOfMemoryError as error:
            message = str(error).splitlines()[0]
        else:
            if halved:
                _HINTS.keep({_kind(run, phase): _size(run, phase)})
            return result
        # Outside the handler, where the error no longer holds the tensors of the frames that it went through.
        _halve(run, phase, message, hooks)
        halved = True


def recall(run: Run, hooks: Hooks) -> None:
    """Starts with the sizes that similar runs found, looked up once for each image size.

    The checkpoint notes the look-up: what other runs find later does not change a run that is resumed.
    """
    if run.progress.recalled_px == run.loaders.size:
        return
    run.progress.recalled_px = run.loaders.size
    known = _HINTS.read()
    for phase, attribute in _SIZES.items():
        size = known.get(_kind(run, phase))
        if isinstance(size, int) and 0 < size < _size(run, phase):
            setattr(run.progress, attribute, size)
            hooks.say(f"{phase} in micro-batches of {size}: larger ones did not fit into memory in a run like this")
            _warn_of_difference(run, phase, hooks)


def _halve(run: Run, phase: Phase, message: str, hooks: Hooks) -> None:
    size, where = _size(run, phase), " in evaluation" if phase == "evaluation" else ""
    if phase == "training":
        run.optimizer.zero_grad(set_to_none=True)
    gc.collect()
    if run.device.type == "cuda":
        torch.cuda.empty_cache()
    if size <= 1:
        raise OutOfMemory(
            f"out of memory{where} with batches of {_batch_size(run, phase)} even one sample at a time ({message}); "
            "try a smaller data.image_size or a smaller model: a smaller training.batch_size would not help"
        )
    half = (size + 1) // 2
    setattr(run.progress, _SIZES[phase], half)
    kept = f"the effective batch stays {run.config.training.batch_size * run.config.training.accumulate_grad_batches}"
    if phase == "evaluation":
        kept = "the results stay the same"
    line = f"out of memory{where} with micro-batches of {size}; goes on with {half} ({kept})"
    run.warnings.append(line)
    hooks.say(line)
    _warn_of_difference(run, phase, hooks)


def _warn_of_difference(run: Run, phase: Phase, hooks: Hooks) -> None:
    """Warns where the parts do not add up to the whole batch: batch statistics, random draws."""
    if phase == "evaluation":
        return
    run.model.train()  # a frozen part stays in evaluation mode and makes no difference
    active = [module for module in run.model.modules() if module.training]
    reasons = []
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in active):
        reasons.append("BatchNorm takes its statistics from micro-batches")
    if any(_dropout_of(module) > 0.0 for module in active):
        reasons.append("dropout is drawn anew for each of them")
    line = f"warning: the losses will differ somewhat from those of whole batches: {' and '.join(reasons)}"
    if reasons and line not in run.warnings:
        run.warnings.append(line)
        hooks.say(line)


def _dropout_of(module: nn.Module) -> float:
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p
    functional = getattr(module, "dropout", 0.0)  # as LSTMs and transformer layers have it
    return functional if isinstance(functional, float) else 0.0


def _batch_size(run: Run, phase: Phase) -> int:
    training = run.config.training
    return training.batch_size if phase == "training" else training.val_batch_size or training.batch_size


def _size(run: Run, phase: Phase) -> int:
    """The largest number of samples computed at a time."""
    rows = run.loaders.batches.n_rows if phase == "training" else run.loaders.val_rows
    size: int = getattr(run.progress, _SIZES[phase])
    return size or min(_batch_size(run, phase), rows)


def _kind(run: Run, phase: Phase) -> str:
    """A key for everything that the memory of a run depends on."""
    config, device = run.config.plain(), "cpu"
    if run.device.type == "cuda":
        properties = torch.cuda.get_device_properties(run.device)
        device = f"{properties.name}, {properties.total_memory} bytes"
    training = config["training"]
    about = {
        "phase": phase,
        "task": run.config.task,
        "model": config.get("model"),
        "evaluation": config.get("evaluation") if phase == "evaluation" else None,
        "image_size": run.loaders.size,
        "batch_size": _batch_size(run, phase),
        "optimizer": training["optimizer"]["type"],
        "averaged": training["ema_decay"] is not None,
        "compiled": training["compile"],
        "precision": run.precision.name,
        "device": device,
    }
    return hint_key(about)
