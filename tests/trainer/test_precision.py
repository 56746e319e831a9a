"""AMP is decided once, with its reason; one step clips true gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.amp import GradScaler
from trainer_parts import tiny, trained

from trainer.api import ConfigError, DeviceError
from trainer.learning.precision import Precision, decide_device, decide_precision, optimizer_step

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize(("asked", "said"), [("auto", "fp32 (auto: a CPU)"), ("fp32", "fp32 (asked for)")])
def test_a_cpu_computes_in_fp32_unless_told_otherwise(asked: str, said: str) -> None:
    assert str(decide_precision(asked, CPU)) == said


@pytest.mark.parametrize(
    ("capability", "said"),
    [
        ((7, 5), "fp16 (auto: compute capability 7.5)"),
        ((8, 0), "bf16 (auto: compute capability 8.0)"),
        ((9, 0), "bf16 (auto: compute capability 9.0)"),
    ],
)
def test_auto_takes_what_the_gpu_has(capability: tuple[int, int], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert str(decide_precision("auto", CUDA)) == said
    assert str(decide_precision("fp32", CUDA)) == "fp32 (asked for)"


def test_fp16_on_a_cpu_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.precision: fp16 needs a GPU"):
        trained(tiny(tmp_path, training__precision="fp16"))


def test_bf16_on_a_cpu_trains(tmp_path: Path) -> None:
    plain = trained(tiny(tmp_path / "fp32", training__epochs=2))
    mixed = trained(tiny(tmp_path / "bf16", training__epochs=2, training__precision="bf16"))
    assert mixed.precision == "bf16 (asked for)"
    losses = [outcome.evaluations[-1].metrics["val_loss"] for outcome in (plain, mixed)]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]


def test_only_fp16_scales_gradients() -> None:
    assert not Precision(CPU, torch.bfloat16, "").scaler().is_enabled()
    assert not Precision(CPU, None, "").scaler().is_enabled()


def test_a_gpu_that_is_not_there_is_an_error_never_a_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for asked in ("cuda", "cuda:0"):
        with pytest.raises(DeviceError, match=f"device={asked}: no CUDA device"):
            decide_device(asked)
    assert decide_device("auto") == decide_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert decide_device("auto") == CUDA
    assert decide_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DeviceError, match="only 2 CUDA"):
        decide_device("cuda:2")


@pytest.mark.parametrize(("grad_clip", "moved"), [(0.0, [3.0, 4.0]), (1.0, [0.6, 0.8]), (10.0, [3.0, 4.0])])
def test_a_step_clips_the_global_norm_and_clears(grad_clip: float, moved: list[float]) -> None:
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    first.grad, second.grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimizer = torch.optim.SGD([first, second], lr=1.0)
    optimizer_step(optimizer, Precision(CPU, None, "").scaler(), [first, second], grad_clip)
    assert [-float(first.detach()), -float(second.detach())] == pytest.approx(moved, rel=1e-5)
    assert first.grad is None
    assert second.grad is None


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_scaled_gradients_are_unscaled_before_clipping(device: str) -> None:
    weight = nn.Parameter(torch.zeros(2, device=device))
    scaler = GradScaler(device, init_scale=1024.0)
    scaler.scale((weight * torch.tensor([3.0, 4.0], device=device)).sum()).backward()
    optimizer_step(torch.optim.SGD([weight], lr=1.0), scaler, [weight], 1.0)
    assert (-weight.detach()).tolist() == pytest.approx([0.6, 0.8], rel=1e-4)


@needs_gpu
@pytest.mark.parametrize("precision", ["auto", "fp16", "bf16", "fp32"])
def test_a_gpu_trains_in_every_precision(precision: str, tmp_path: Path) -> None:
    outcome = trained(tiny(tmp_path, device="cuda", training__precision=precision, training__epochs=2))
    assert outcome.device == "cuda"
    assert outcome.evaluations[-1].metrics["train_loss"] < outcome.evaluations[0].metrics["train_loss"]
