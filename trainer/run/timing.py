"""How long an epoch of a configuration takes, from a few of its steps."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from trainer.config.resolve import resolve_config
from trainer.config.settings import RunConfig
from trainer.outcome import Hooks
from trainer.run.loop import evaluate
from trainer.run.session import open_session

_WARM_UP_STEPS = 2  # the first ones allocate and compile
_LONGEST_SECONDS = 20.0


def time_epoch(config: RunConfig, steps: int) -> tuple[float, float, float]:
    """Trains a few steps in a temporary folder and evaluates once; raises what training raises.

    Returns seconds of an epoch with its evaluation, from the 10th and the 90th percentile of the steps, and of opening
    the run before it.
    """
    marks: list[float] = []

    def enough() -> bool:
        return len(marks) > steps + _WARM_UP_STEPS or marks[-1] - marks[0] > _LONGEST_SECONDS

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = {"checkpoint.dir": str(folder), "logging.dir": str(folder), "checkpoint.resume": None}
        began = time.monotonic()
        hooks = Hooks(heartbeat=lambda _beat: marks.append(time.monotonic()), should_stop=enough)
        session = open_session(resolve_config(config.plain(), own), hooks)
        try:
            started = time.monotonic()
            opening = started - began
            session.train(1, hooks)
            took = np.diff([started, *marks])
            kept = took[_WARM_UP_STEPS:] if len(took) > _WARM_UP_STEPS else took
            low, high = np.percentile(kept, [10, 90]) * session.run.steps_per_epoch
            started = time.monotonic()
            evaluate(session.run)
            evaluation = time.monotonic() - started
        finally:
            session.close()
    return float(low) + evaluation, float(high) + evaluation, opening
