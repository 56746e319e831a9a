"""How long an epoch of a configuration takes, from a few of its steps."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.config.resolve import resolve_config
from trainer.config.settings import RunConfig
from trainer.outcome import Heartbeat, Hooks
from trainer.run.loop import evaluate
from trainer.run.session import open_session

_WARM_UP_STEPS = 2  # the first ones allocate and compile
_LONGEST_SECONDS = 20.0


@dataclass(frozen=True)
class EpochTiming:
    """Seconds of an epoch with its evaluation, from the 10th and the 90th percentile of the steps; and
    of opening the run before it."""

    low: float
    high: float
    opening: float


def time_steps(config: RunConfig, steps: int) -> EpochTiming:
    """Trains a few steps in a temporary folder and evaluates once; raises what training raises."""
    marks: list[float] = []

    def heartbeat(_beat: Heartbeat) -> None:
        marks.append(time.monotonic())

    def enough() -> bool:
        return len(marks) > steps + _WARM_UP_STEPS or marks[-1] - marks[0] > _LONGEST_SECONDS

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = {"checkpoint.dir": str(folder), "logging.dir": str(folder), "checkpoint.resume": None}
        began = time.monotonic()
        session = open_session(resolve_config(config.plain(), own), Hooks(heartbeat=heartbeat, should_stop=enough))
        try:
            started = time.monotonic()
            opening = started - began
            session.train(1, Hooks(heartbeat=heartbeat, should_stop=enough))
            took = np.diff([started, *marks])
            kept = took[_WARM_UP_STEPS:] if len(took) > _WARM_UP_STEPS else took
            low, high = np.percentile(kept, [10, 90]) * session.run.steps_per_epoch
            started = time.monotonic()
            evaluate(session.run)
            evaluation = time.monotonic() - started
        finally:
            session.close()
    return EpochTiming(float(low) + evaluation, float(high) + evaluation, opening)
