"""Optimizers, their parameter groups, and schedules as functions of progress."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim import Optimizer

from trainer.config.settings import OptimizerSettings, SchedulerSettings
from trainer.task.protocols import Parts

_OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}


def build_optimizer(settings: OptimizerSettings, parts: Parts) -> Optimizer:
    """One group, or two where the pretrained part has its own rate; each in two where some parameters do not decay."""
    rates = ((parts.main, settings.lr), (parts.pretrained, settings.encoder_lr or settings.lr))
    groups: list[dict[str, Any]] = []
    for parameters, rate in rates:
        # As timm does it: biases and the weights of normalisation are the parameters of one dimension.
        decayed = [one for one in parameters if settings.decay_norm_and_bias or one.ndim > 1]
        spared = [one for one in parameters if not settings.decay_norm_and_bias and one.ndim <= 1]
        groups += [{"params": decayed, "lr": rate}] if decayed else []
        groups += [{"params": spared, "lr": rate, "weight_decay": 0.0}] if spared else []
    cls: Any = _OPTIMIZERS[settings.type]
    optimizer: Optimizer = cls(groups, lr=settings.lr, **settings.arguments())
    return optimizer


class Schedule:
    """Sets every group's learning rate from the progress through the schedule's span, in [0, 1].

    Progress counts epochs and the part of the running one, so that a changing number of steps an epoch does
    no harm. The plateau rule alone has a state: the factor that it has come down to.
    """

    def __init__(
        self,
        settings: SchedulerSettings,
        optimizer: Optimizer,
        span_epochs: int,
        warmup: float,
        steps_per_epoch: int = 1,
    ) -> None:
        self.settings, self.optimizer = settings, optimizer
        self.span_epochs, self.warmup, self.steps_per_epoch = span_epochs, warmup, steps_per_epoch
        # Where the plateau rule has brought them.
        self.rates: list[float] = [group["lr"] for group in optimizer.param_groups]
        self.cycles = settings.cycles
        self._factor_set = math.nan  # by the last step; not a number where the groups' rates must be set anew
        self.best = math.inf
        self.stale = 0

    @property
    def moves(self) -> bool:
        """Whether the rates can change within an epoch; else they need setting at its beginning alone."""
        return self.warmup > 0.0 or self.settings.type not in ("constant", "reduce_on_plateau")

    def before_step(self, progress: float) -> None:
        """Rates for the step that starts at this progress."""
        progress = min(progress, 1.0)
        if self.cycles:
            self._set_momentum(self._one_cycle(progress, *self._momenta))
        factor = self.factor(progress)
        if factor == self._factor_set:
            return
        self._factor_set = factor
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def factor(self, progress: float) -> float:
        """What the configured rate is multiplied by."""
        settings = self.settings
        if settings.type == "one_cycle":
            first = 1.0 / settings.div_factor
            return self._one_cycle(progress, first, 1.0, first / settings.final_div_factor)
        if progress < self.warmup:
            return progress / self.warmup
        if settings.type == "cosine":
            rest = (progress - self.warmup) / (1.0 - self.warmup)
            return 0.5 * (1.0 + math.cos(math.pi * rest))
        if settings.type == "step":
            epochs = math.floor(progress * self.span_epochs + 1e-9)
            return float(settings.gamma ** (epochs // settings.step_size))
        return 1.0

    @property
    def _momenta(self) -> tuple[float, float, float]:
        return self.settings.max_momentum, self.settings.base_momentum, self.settings.max_momentum

    def _set_momentum(self, momentum: float) -> None:
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum

    def _one_cycle(self, progress: float, first: float, peak: float, last: float) -> float:
        """Smith and Topin 2018, at every step as PyTorch's OneCycleLR: the last of the steps has the last value."""
        settings, steps = self.settings, self.steps_per_epoch * self.span_epochs
        step = min(progress * steps, steps - 1.0)
        rise = settings.pct_start * steps - 1.0
        ends = [(rise, first, peak), (steps - 1.0, peak, last)]
        if settings.three_phase:
            ends[1:] = [(2.0 * settings.pct_start * steps - 2.0, peak, first), (steps - 1.0, first, last)]
        begin = 0.0
        while len(ends) > 1 and step > ends[0][0]:
            begin = ends.pop(0)[0]
        end, start_value, end_value = ends[0]
        return self._annealed(start_value, end_value, (step - begin) / (end - begin) if end != begin else 1.0)

    def _annealed(self, start: float, end: float, part: float) -> float:
        if self.settings.anneal_strategy == "linear":
            return start + (end - start) * part
        return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * part))

    def after_evaluation(self, val_loss: float) -> None:
        """The plateau rule, as PyTorch's ReduceLROnPlateau with an absolute threshold of 0."""
        if self.settings.type != "reduce_on_plateau":
            return
        if val_loss < self.best:
            self.best, self.stale = val_loss, 0
            return
        self.stale += 1
        if self.stale > self.settings.patience:
            factor, floor = self.settings.factor, self.settings.min_lr
            self.rates = [min(rate, max(rate * factor, floor)) for rate in self.rates]  # never raised to the floor
            self.stale, self._factor_set = 0, math.nan

    def new_rung(self) -> None:
        """Resets the counters, not the rate: losses on another budget are not comparable."""
        self.best, self.stale = math.inf, 0

    def state_dict(self) -> dict[str, Any]:
        return {"rates": list(self.rates), "best": self.best, "stale": self.stale, "cycles": self.cycles}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rates, self.best, self.stale = list(state["rates"]), state["best"], state["stale"]
        self.cycles = self.cycles and state.get("cycles", False)  # a run that was begun without goes on without
        self._factor_set = math.nan


def warmup_part(settings: SchedulerSettings, steps_per_epoch: int, span_epochs: int) -> float:
    """Warm-up as a share of the schedule, below 1."""
    if settings.warmup_fraction is not None:
        return settings.warmup_fraction
    return min(settings.warmup_steps / (steps_per_epoch * span_epochs), 0.999)
