"""Older names of keys, and the canonical keys that took their place. The only file that knows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from trainer.errors import Problem

Converter = Callable[[Any], dict[str, Any]]  # an older key's value → canonical key → value


def _to(new: str, values: Mapping[Any, Any] | None = None) -> Converter:
    return lambda value: {new: _mapped(value, values or {})}


def _mapped(value: Any, values: Mapping[Any, Any]) -> Any:
    """`values[value]`, where 1 does not count as true."""
    same = [new for old, new in values.items() if type(old) is type(value) and old == value]
    return same[0] if same else value


def _val_split(train_split: Any) -> dict[str, Any]:
    try:
        rest = train_split if isinstance(train_split, bool | None) else round(1.0 - float(train_split), 12)
        return {"data.val_split": rest}
    except (ValueError, TypeError, OverflowError):
        return {"data.val_split": train_split}


# What is said of an older key whose value is out of bounds, where its bounds are not those of the canonical key.
BOUNDS = {
    "data.train_split": "must be above 0 and below 1: the images that are not trained on are those to validate on",
}

ENCODER_LR = "training.optimizer.encoder_lr"
LR_SPELLINGS = ("training.optimizer.lr", "training.lr", "training.learning_rate", "optimizer.lr")
DEFAULT_LR = 1e-4

# Sections that stood at the top, and where their keys are now.
_MOVED: dict[str, str] = {
    "dataset": "data",
    "optimizer": "training.optimizer",
    "scheduler": "training.scheduler",
    "lr_scheduler": "training.scheduler",
    "early_stopping": "training.early_stopping",
    "wandb": "logging.wandb",
}
_SAME_VALUE: dict[str, str] = {
    "training.seed": "seed",
    "training.num_workers": "data.num_workers",
    "training.prefetch_factor": "data.prefetch_factor",
    "dataset.val_part": "data.val_split",
    "training.max_epochs": "training.epochs",
    "training.num_epochs": "training.epochs",
    "data.batch_size": "training.batch_size",
    "dataset.data_loaders.train_batch_size": "training.batch_size",
    "dataset.data_loaders.val_batch_size": "training.val_batch_size",
    "training.gradient_accumulation_steps": "training.accumulate_grad_batches",
    "training.max_grad_norm": "training.grad_clip",
    "data.num_samples": "data.max_samples",
    "training.lr": "training.optimizer.lr",
    "training.learning_rate": "training.optimizer.lr",
    "directories.images": "data.images_dir",
    "directories.backgrounds": "data.backgrounds_dir",
    "training.checkpoint_dir": "checkpoint.dir",
    "directories.models": "checkpoint.dir",
    "training.output_dir": "checkpoint.dir",
    "training.save_checkpoints": "checkpoint.save",
    "training.save_every_n_epochs": "checkpoint.every_n_epochs",
    "training.save_steps": "checkpoint.every_n_steps",
    "training.resume": "checkpoint.resume",
    "training.resume_from": "checkpoint.resume",
    "training.compile_model": "training.compile",
    "training.use_amp": "training.precision",
    "training.amp": "training.precision",
    "training.mixed_precision": "training.precision",
    "training.finetune_lr": ENCODER_LR,
    "training.logging_steps": "logging.every_n_steps",
    "training.save_metrics": "logging.save_metrics",
}

RENAMES: dict[str, Converter] = {
    **{old: _to(new) for old, new in _SAME_VALUE.items()},
    "data.train_split": _val_split,
    "training.save_every_epoch": _to("checkpoint.every_n_epochs", {True: 1, False: None}),
}


# Schedulers of noise. Training is DDPM and sampling DDIM, whichever of them a file names.
_NOISE = re.compile(
    r"(ddpm|ddim|pndm|edm|lms|heun|euler|unipc|deis|kdpm|dpmsolver|dpmpp|flowmatch|lcm|tcd|scorede|ipndm)\w*", re.I
)


def _noise_or_rate(value: Any) -> dict[str, Any]:
    """In an older diffusion file `scheduler` is the noise scheduler, unless it names one of the rate."""
    is_noise = isinstance(value, str) and _NOISE.fullmatch(re.sub(r"[-_ .]", "", value)) is not None
    return {} if is_noise else {"training.scheduler.type": value}


LIBRARIES = ("torchvision", "timm")


def _weights_or_library(value: Any) -> dict[str, Any]:
    """`load_from` is a path; earlier files of this project have the library's name there."""
    is_library = isinstance(value, str) and value.lower() in LIBRARIES and not Path(value).is_file()
    return {"model.library" if is_library else "model.weights": value}


# Names with a meaning of their own in the older files of one task: task → name → converter.
TASK_RENAMES: dict[str, dict[str, Converter]] = {
    "classification": {"model.load_from": _weights_or_library},
    "diffusion": {
        **{
            f"scheduler.{name}": _to(f"diffusion.{name}")
            for name in ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type")
        },
        "scheduler.type": _noise_or_rate,
    },
}
# Keys of which an older file of a task may have none, and what is reported then.
LEFT_OPEN: dict[str, tuple[frozenset[str], str]] = {
    "diffusion": (
        frozenset({"data.val_split"}),
        "data.train_split is not given: 0.9, so that data.val_split = 0.1 of the images are only validated on",
    ),
}
STOPPING = "training.early_stopping"
KNEW_STOPPING = frozenset({"captioning"})  # the others of the earlier programs had no early stopping
# Where an older file has none of these keys, their defaults decide, which the user is told.
DECIDED = (
    *("seed", "data.image_size", "data.val_split", "model.backbone", "model.backbone_name"),
    *("model.name", "model.pretrained", "vae.pretrained_model_name", "text_encoder.pretrained_model_name"),
    *("training.epochs", "training.batch_size", "training.precision", "training.grad_clip"),
    *("training.optimizer.type", "training.optimizer.lr", "training.scheduler.type", "criterion.type"),
    *(f"{STOPPING}.enabled", "metrics.accuracy", "metrics.bleu", "metrics.map"),
)
# Keys that came later, with another default than what was done before: what a plan or a checkpoint without them did
# where another key has a value.
CYCLES = "training.scheduler.cycle_momentum"
_BEFORE: dict[str, tuple[str, str, Any]] = {CYCLES: ("training.scheduler.type", "one_cycle", False)}

_SWITCHES = ("training.use_ema", "training.save_every_epoch")

Pairs = list[tuple[str, Any]]


def combined(pairs: Pairs, problems: list[Problem], whole_file: bool, known: Container[str]) -> Pairs:
    """Canonical pairs for older keys that have a meaning only together; all other pairs as they are.

    `use_ema` switches `ema_decay`; `lr_mode: finetune` makes `finetune_lr` effective, which in a whole file has no
    effect without it; `optimizer.lr_type: split` gives the pretrained part a rate of its own, a tenth of the
    other where none is named; `save_every_epoch` goes before `save_every_n_epochs` unless it is false;
    `directories.images` are the backgrounds where the images to classify are named beside them. `known` are the task's
    keys.
    """
    given = dict(pairs)
    gone: set[str] = set()
    more: Pairs = []
    for key in _SWITCHES:
        if not isinstance(given.get(key), bool | None):
            problems.append(Problem(key, f"must be true or false, not {given[key]!r}"))
            gone.add(key)
    if isinstance(given.get("training.use_ema"), bool):
        decay = given.get("training.ema_decay") or 0.9999
        gone |= {"training.use_ema", "training.ema_decay"}
        more.append(("training.ema_decay", decay if given["training.use_ema"] else None))
    if "training.lr_mode" in given:
        gone |= {"training.lr_mode", "training.finetune_lr"}
        finetuned = _one_of(given, "training.lr_mode", ("finetune", "continue"), problems) == "finetune"
        more.append((ENCODER_LR, given.get("training.finetune_lr", 1e-5) if finetuned else None))
    elif whole_file:
        gone.add("training.finetune_lr")
    if "optimizer.lr_type" in given:
        gone.add("optimizer.lr_type")
        if given["optimizer.lr_type"] not in _ONE_RATE:
            _one_of(given, "optimizer.lr_type", ("split", "single"), problems)
        if _lacks_second_rate(given):
            more.append((ENCODER_LR, _tenth(given)))
    if "training.save_every_n_epochs" in given and isinstance(given.get("training.save_every_epoch"), bool):
        gone.add(f"training.save_every_{'n_epochs' if given['training.save_every_epoch'] else 'epoch'}")
    named = given.keys() & {"data.images_dir", "dataset.images_dir"}
    if "directories.images" in given and named and "data.backgrounds_dir" in known:
        gone.add("directories.images")
        more.append(("directories.backgrounds", given["directories.images"]))
    return [(key, value) for key, value in pairs if key not in gone] + more


def assumed(pairs: Pairs) -> list[str]:
    """Lines for the user on what keys that mean something only together leave open."""
    given = dict(pairs)
    if not _lacks_second_rate(given):
        return []
    rate = f"{ENCODER_LR} = {_tenth(given)}, a tenth of the other"
    return [f"optimizer.lr_type: split names no second rate: {rate}"]


_ONE_RATE = ("single", "same", "shared", "uniform", None)


def _one_of(given: Mapping[str, Any], key: str, known: tuple[str, ...], problems: list[Problem]) -> Any:
    if given[key] not in known:
        problems.append(Problem(key, f"must be {' or '.join(known)}, not {given[key]!r}"))
    return given[key]


def _lacks_second_rate(given: Mapping[str, Any]) -> bool:
    named = given.keys() & {ENCODER_LR, "optimizer.encoder_lr", "training.lr_mode"}
    return given.get("optimizer.lr_type") == "split" and not named


def _tenth(given: Mapping[str, Any]) -> Any:
    """A tenth of the given rate; a value that is no number is left to the check of its own key."""
    rate = next((given[key] for key in LR_SPELLINGS if key in given), DEFAULT_LR)
    try:
        return float(rate) / 10.0
    except (TypeError, ValueError):
        return None


def in_place(path: str) -> str:
    """A dotted path into a section that has moved, at its new place; any other as it is."""
    section, dot, rest = path.partition(".")
    return f"{_MOVED.get(section, section)}{dot}{rest}"


def canonical(key: str, value: Any, task: str) -> dict[str, Any]:
    """Canonical key → value for one dotted key in any accepted spelling; an unknown key comes back as it is."""
    for spelling in (key, in_place(key)):
        convert = TASK_RENAMES.get(task, {}).get(spelling) or RENAMES.get(spelling)
        if convert is not None:
            return convert(value)
    return {in_place(key): value}


def is_older(key: str, value: Any, task: str) -> bool:
    """Whether a key, which is none of today's, marks the file that it is in as one of an older layout."""
    return key != "model.load_from" or "model.library" not in canonical(key, value, task)


def thawed(frozen: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The dotted keys of a whole configuration that a plan or a checkpoint holds, perhaps of an earlier version."""
    values: dict[str, Any] = {}
    for key, value in frozen.items():
        convert = TASK_RENAMES.get(task, {}).get(key)
        values.update(convert(value) if convert is not None else {key: value})
    for key, (condition, wanted, before) in _BEFORE.items():
        if values.get(condition) == wanted:
            values.setdefault(key, before)
    return values
