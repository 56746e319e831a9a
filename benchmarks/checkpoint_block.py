"""How long a checkpoint keeps the training loop waiting, against `torch.save` of the same state.

    python benchmarks/checkpoint_block.py [--megabytes 283] [--rounds 7]

The state is that of a model with Adam. Both write to the same folder, in turn, round after round in one process;
medians over the rounds. `torch.save` neither syncs nor sums a checksum; ours does both, beside the loop. How much
longer the loop's steps take while the file is written is measured too, with one thread.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainer.checkpoints.background import BackgroundWriter, StateCopy
from trainer.checkpoints.files import rotate_and_save

LAYER = 1024  # side of a layer's matrix


def state_of(megabytes: int) -> dict[str, Any]:
    """Weights and Adam's two moments, a third each, in layers of 4.2 MB."""
    layers = max(1, round(megabytes * 1e6 / (3 * 4 * LAYER * LAYER)))
    torch.manual_seed(0)
    parts = {name: {n: torch.randn(LAYER, LAYER) for n in range(layers)} for name in ("model", "first", "second")}
    return {**parts, "progress": {"epoch": 3, "losses": [0.1] * 1000}}


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def steps_until(done: Callable[[], bool]) -> float:
    """Seconds of a step of work while something else is under way."""
    matrix, took = torch.randn(384, 384), []
    while not done():
        took.append(seconds_of(lambda: matrix @ matrix))
    return statistics.mean(took) if took else 0.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--megabytes", type=int, default=283)
    arguments.add_argument("--rounds", type=int, default=7)
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    state = state_of(asked.megabytes)
    copies, writer = StateCopy(), BackgroundWriter()
    plain, blocked, written, beside, alone = [], [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def save() -> None:
            copied = copies.take(state)
            writer.start(lambda: void(rotate_and_save(copied, folder)))

        for round_number in range(asked.rounds + 1):
            plain_seconds = seconds_of(lambda: torch.save(state, folder / "plain.pth"))
            quiet = time.perf_counter() + 0.3
            alone_seconds = steps_until(lambda quiet=quiet: time.perf_counter() > quiet)
            started = time.perf_counter()
            blocked_seconds = seconds_of(save)
            beside_seconds = steps_until(lambda: not writer.busy)
            writer.wait()
            if round_number:  # the first one fills new buffers
                plain.append(plain_seconds)
                blocked.append(blocked_seconds)
                written.append(time.perf_counter() - started)
                beside.append(beside_seconds)
                alone.append(alone_seconds)
    ratio = statistics.median(one / other for one, other in zip(plain, blocked, strict=True))
    print(
        f"torch.save {statistics.median(plain):.3f} s, the loop waits {statistics.median(blocked):.3f} s: {ratio:.1f} x"
    )
    print(f"the file is whole, summed and synced after {statistics.median(written):.3f} s")
    print(f"a step while it is written: {statistics.median(beside) / statistics.median(alone):.2f} of a step alone")


def void(_: object) -> None:
    return None


if __name__ == "__main__":
    main()
