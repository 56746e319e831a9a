"""What a schedule cannot do in a run of so many steps, or leaves without effect."""

from __future__ import annotations

import math

from trainer.config.settings import RunConfig


def steps_per_epoch(config: RunConfig, rows: int) -> int:
    """Optimizer steps of an epoch over so many rows; the last batch and the last group of batches may be smaller."""
    training = config.training
    return math.ceil(math.ceil(rows / training.batch_size) / training.accumulate_grad_batches)


def schedule_warnings(config: RunConfig, rows: int) -> list[str]:
    """Warnings on a warm-up that outlasts the run, and on a momentum that the schedule replaces."""
    training = config.training
    scheduler, optimizer, per_epoch = training.scheduler, training.optimizer, steps_per_epoch(config, rows)
    warnings = []
    steps = min(training.epochs * per_epoch, training.max_iter or training.epochs * per_epoch)
    warmup, key = float(scheduler.warmup_steps), f"warmup_steps={scheduler.warmup_steps}"
    share = scheduler.warmup_fraction
    if share is not None:
        warmup, key = share * config.schedule_epochs * per_epoch, f"warmup_fraction={share:g}"
    if scheduler.type != "one_cycle" and warmup >= steps > 0 and warmup > 0.0:
        what = f"training.scheduler.{key}, and the run has {steps} optimizer step{'s' if steps > 1 else ''}"
        warnings.append(f"{what}: the warm-up never ends, and the rate does not reach {optimizer.lr:g}")
    named = optimizer.betas if optimizer.momentum is None else optimizer.momentum
    if scheduler.cycles and named is not None:
        moved = f"one_cycle moves it between {scheduler.base_momentum:g} and {scheduler.max_momentum:g}"
        key = "the first of training.optimizer.betas" if isinstance(named, tuple) else "training.optimizer.momentum"
        warnings.append(f"{key} has no effect: {moved}; training.scheduler.cycle_momentum=false keeps it")
    return warnings
