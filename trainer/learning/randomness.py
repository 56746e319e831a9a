"""Random numbers that can be continued: stateless ones for each sample, and the state of every generator."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def uniforms(seed: int, epoch: int, indices: NDArray[np.int64], draws: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) as a pure function of (seed, epoch, index, draw).

    A counter-based generator (the SplitMix64 finaliser, Steele et al. 2014), vectorised: the same for any
    number of loading processes and after any resume. Returns [len(indices), draws].
    """
    key = _mix(np.uint64(seed % 2**64) ^ _mix(np.asarray([epoch], dtype=np.uint64)))
    rows = _mix(indices.astype(np.uint64) ^ key)
    cells = _mix(rows[:, None] + np.arange(1, draws + 1, dtype=np.uint64)[None, :] * np.uint64(0xD1342543DE82EF95))
    return (cells >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(value: Any) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        value = np.asarray(value, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: NDArray[np.uint64] = value ^ (value >> np.uint64(31))
        return mixed


@contextmanager
def undisturbed() -> Iterator[None]:
    """A context in which draws do not change PyTorch's generator on the CPU."""
    before = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(before)


def normals(keys: Tensor, count: int) -> Tensor:
    """Standard normal numbers as a pure function of each key, on the keys' device.

    The same counter-based generator as `uniforms`, and Box and Muller's (1958) transform of both halves of its
    numbers: a sample's noise is its own however a batch is cut up, and nothing has to be carried to the device.
    keys: int64 [batch]; returns float32 [batch, count], the first numbers the same for any `count`.
    """
    pairs = torch.arange(1, (count + 1) // 2 + 1, device=keys.device) * _signed(0xD1342543DE82EF95)
    bits = _mixed(_mixed(keys)[:, None] + pairs)  # [batch, pairs]
    first = (_shifted(bits, 32).float() + 0.5) * 2.0**-32
    second = ((bits & 0xFFFFFFFF).float() + 0.5) * 2.0**-32
    radius, angle = (-2.0 * first.log()).sqrt(), 2.0 * math.pi * second
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1).flatten(1)[:, :count]


def _mixed(value: Tensor) -> Tensor:
    """`_mix` on tensors: int64 wraps around as uint64 does."""
    value = value + _signed(0x9E3779B97F4A7C15)
    value = (value ^ _shifted(value, 30)) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ _shifted(value, 27)) * _signed(0x94D049BB133111EB)
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, places: int) -> Tensor:
    """A logical shift to the right: zeros come in, not the sign."""
    return (value >> places) & ((1 << (64 - places)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def seed_all(seed: int, deterministic: bool) -> None:
    """Seeds every generator of this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)  # every CUDA device too
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic


def capture() -> dict[str, Any]:
    """The state of every generator, as tensors and plain numbers, so that `weights_only=True` loads it."""
    numpy_state: Any = np.random.get_state(legacy=False)
    version, internal, gauss = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": {"version": version, "internal": list(internal), "gauss": gauss},
        "numpy": {
            "key": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
            "pos": int(numpy_state["state"]["pos"]),
            "has_gauss": int(numpy_state["has_gauss"]),
            "gauss": float(numpy_state["gauss"]),
        },
    }
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # has no types
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore(state: dict[str, Any]) -> None:
    """Restores every generator to a captured state; CUDA's only where the number of devices is the same."""
    torch.set_rng_state(state["torch"].cpu())
    python = state["python"]
    random.setstate((python["version"], tuple(python["internal"]), python["gauss"]))
    numpy_state = state["numpy"]
    np.random.set_state(
        {
            "bit_generator": "MT19937",
            "state": {"key": numpy_state["key"].numpy().astype(np.uint32), "pos": numpy_state["pos"]},
            "has_gauss": numpy_state["has_gauss"],
            "gauss": numpy_state["gauss"],
        }
    )
    if "cuda" in state and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([item.cpu() for item in state["cuda"]])


@contextmanager
def untouched() -> Iterator[None]:
    """A context after which every generator is as before, for making a network whose weights are loaded next."""
    before = capture()
    try:
        yield
    finally:
        restore(before)
