"""Older names of keys, and the canonical keys that took their place. The only file that knows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


_SCHEDULERS = {
    "ReduceLROnPlateau": "reduce_on_plateau",
    "StepLR": "step",
    "CosineAnnealingLR": "cosine",
    "OneCycleLR": "one_cycle",
}
_OPTIMIZERS = {"Adam": "adam", "AdamW": "adamw", "SGD": "sgd", "RMSprop": "rmsprop"}
_PRECISIONS = {
    True: "auto",
    False: "fp32",
    "no": "fp32",
    "16-mixed": "fp16",
    "bf16-mixed": "bf16",
    "32": "fp32",
}

ENCODER_LR = "training.optimizer.encoder_lr"
LR_SPELLINGS = ("training.optimizer.lr", "training.lr", "training.learning_rate", "optimizer.lr")
DEFAULT_LR = 1e-4

# Sections that stood at the top and now stand in `training`, with their keys.
_MOVED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("optimizer", ("lr", "encoder_lr", "weight_decay", "betas", "eps", "momentum", "nesterov", "alpha", "centered")),
    ("scheduler", ("factor", "patience", "min_lr", "step_size", "gamma")),
    ("scheduler", ("anneal_strategy", "div_factor", "final_div_factor", "pct_start")),
    ("early_stopping", ("enabled", "patience", "min_delta")),
    ("early_stopping", ("track_overfitting", "overfitting_gap_threshold", "overfitting_patience")),
)
_SAME_VALUE: dict[str, str] = {
    **{f"{section}.{name}": f"training.{section}.{name}" for section, names in _MOVED for name in names},
    "training.seed": "seed",
    "dataset.image_size": "data.image_size",
    "training.num_workers": "data.num_workers",
    "training.prefetch_factor": "data.prefetch_factor",
    "dataset.val_part": "data.val_split",
    "dataset.data_fraction": "data.data_fraction",
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
    "lr_scheduler.warmup_steps": "training.scheduler.warmup_steps",
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
    "training.finetune_lr": ENCODER_LR,
    "training.logging_steps": "logging.every_n_steps",
    "training.save_metrics": "logging.save_metrics",
    "wandb.project": "logging.wandb.project",
    "wandb.entity": "logging.wandb.entity",
}

RENAMES: dict[str, Converter] = {
    **{old: _to(new) for old, new in _SAME_VALUE.items()},
    "data.train_split": _val_split,
    "training.use_amp": _to("training.precision", _PRECISIONS),
    "training.amp": _to("training.precision", _PRECISIONS),
    "training.mixed_precision": _to("training.precision", _PRECISIONS),
    "optimizer.type": _to("training.optimizer.type", _OPTIMIZERS),
    "scheduler.type": _to("training.scheduler.type", _SCHEDULERS),
    "lr_scheduler.type": _to("training.scheduler.type", _SCHEDULERS),
    "training.save_every_epoch": _to("checkpoint.every_n_epochs", {True: 1, False: None}),
}


def _noise_or_rate(value: Any) -> dict[str, Any]:
    """In an older diffusion file `scheduler` is the noise scheduler, which in training is always DDPM."""
    if isinstance(value, str) and value.lower() in ("ddpm", "ddpmscheduler"):
        return {}
    return {"training.scheduler.type": _mapped(value, _SCHEDULERS)}


# Names with a meaning of their own in the older files of one task: task → name → converter.
TASK_RENAMES: dict[str, dict[str, Converter]] = {
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
        frozenset({"data.val_split", "data.train_split", "dataset.val_part"}),
        "data.train_split is not given: 0.9, so that data.val_split = 0.1 of the images are only validated on",
    ),
}

Pairs = list[tuple[str, Any]]


def combined(pairs: Pairs, problems: list[Problem], whole_file: bool) -> Pairs:
    """Canonical pairs for older keys that have a meaning only together; all other pairs as they are.

    `use_ema` switches `ema_decay`; `lr_mode: finetune` makes `finetune_lr` effective, which in a whole file has no
    effect without it; `optimizer.lr_type: split` gives the pretrained part a rate of its own, a tenth of the
    other where none is named; `save_every_epoch: false` leaves `save_every_n_epochs` to decide.
    """
    given = dict(pairs)
    gone: set[str] = set()
    more: Pairs = []
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
    if given.get("training.save_every_epoch") is False and "training.save_every_n_epochs" in given:
        gone.add("training.save_every_epoch")
    return [(key, value) for key, value in pairs if key not in gone] + more


def assumed(pairs: Pairs, task: str) -> list[str]:
    """Lines for the user: what an older file left open, and what is assumed."""
    given = dict(pairs)
    keys, line = LEFT_OPEN.get(task, (frozenset(), ""))
    lines = [line] if keys and not keys & given.keys() else []
    if _lacks_second_rate(given):
        rate = f"{ENCODER_LR} = {_tenth(given)}, a tenth of the other"
        lines.append(f"optimizer.lr_type: split names no second rate: {rate}")
    return lines


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


# Values of the older key that the canonical key accepts, too: `training.precision: 16-mixed`.
CANONICAL_VALUES: dict[str, Mapping[Any, Any]] = {
    "training.precision": {**_PRECISIONS, 32: "fp32"},
    "training.scheduler.type": _SCHEDULERS,
}


def canonical(key: str, value: Any, task: str) -> dict[str, Any]:
    """Canonical key → value for one dotted key in any accepted spelling; an unknown key comes back as it is."""
    convert = TASK_RENAMES.get(task, {}).get(key) or RENAMES.get(key)
    if convert is not None:
        return convert(value)
    return {key: _mapped(value, CANONICAL_VALUES.get(key, {}))}
