"""Automatic mixed precision: the decision with its reason, and the one place where an optimizer steps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from trainer.errors import ConfigError, DeviceError, Problem


def decide_device(asked: str) -> torch.device:
    """The device of a run; `auto` takes a GPU where there is one, `cuda` without one is an error."""
    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError(f"device={asked}: no CUDA device is visible here; use device=auto or device=cpu")
    device = torch.device("cuda" if asked == "auto" else asked)
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise DeviceError(f"device={asked}: only {torch.cuda.device_count()} CUDA device(s) are visible")
    return device


@dataclass(frozen=True)
class Precision:
    """What autocast computes in (`None` switches it off), and why. fp16 needs a gradient scaler, bf16 does not."""

    device: torch.device
    dtype: torch.dtype | None
    reason: str

    @property
    def name(self) -> str:
        return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(self.dtype, "fp32") if self.dtype else "fp32"

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"

    def autocast(self) -> AbstractContextManager[None]:
        if self.dtype is None:
            return nullcontext()  # entered at every batch; a disabled autocast is not free
        return torch.autocast(self.device.type, dtype=self.dtype)

    def scaler(self) -> GradScaler:
        return GradScaler(self.device.type, enabled=self.dtype is torch.float16)


def decide_precision(asked: str, device: torch.device) -> Precision:
    """The precision: `auto` is bf16 where the GPU computes in it, else fp16 with a scaler, and fp32 on a CPU."""
    if device.type == "cpu":
        if asked == "fp16":
            what = "fp16 needs a GPU; on a CPU use bf16, fp32 or auto"
            raise ConfigError([Problem("training.precision", what)])
        reason = "auto: a CPU" if asked == "auto" else "asked for"
        return Precision(device, torch.bfloat16 if asked == "bf16" else None, reason)
    major, minor = torch.cuda.get_device_capability(device)
    if asked == "auto":
        dtype = torch.bfloat16 if major >= 8 else torch.float16
        return Precision(device, dtype, f"auto: compute capability {major}.{minor}")
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}
    return Precision(device, dtypes[asked], "asked for")


def optimizer_step(
    optimizer: Optimizer, scaler: GradScaler, parameters: Sequence[nn.Parameter], grad_clip: float
) -> None:
    """One step, the same way with and without AMP: unscale, clip, step, clear."""
    scaled = scaler.is_enabled()
    if grad_clip > 0.0:
        if scaled:
            scaler.unscale_(optimizer)  # the norm is that of the true gradients
        nn.utils.clip_grad_norm_(parameters, grad_clip)
    if scaled:
        scaler.step(optimizer)
        scaler.update()
    else:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
