"""What an epoch on a rung takes here: from this study's own trials, else from the last time it was seen or measured."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from orchestrator.study.ladder import Rung
from orchestrator.study.plan import Plan
from trainer.api import Hints, hint_key, read_metrics, time_epoch


class Seconds(NamedTuple):
    """Of an epoch with its evaluation, from a fast to a slow one, and of opening a trial before it."""

    low: float
    high: float
    opening: float = 0.0


_HINTS = Hints("timings.json")
_UNTOUCHED = ("checkpoint", "logging", "experiment_name", "seed")


def known_timings(plan: Plan) -> dict[int, Seconds]:
    """By rung; the study's own trials count before what the cache holds."""
    cached = _HINTS.read()
    found = {}
    for number, rung in enumerate(plan.rungs, start=1):
        if (seconds := cached.get(_key(plan, rung))) is not None:
            found[number] = Seconds(*(float(part) for part in seconds))
    for number, seen in study_timings(plan).items():
        found[number] = seen._replace(opening=found[number].opening if number in found else 0.0)
    return found


def study_timings(plan: Plan) -> dict[int, Seconds]:
    """From the metrics that the study's trials wrote: the 10th to the 90th percentile of their epochs, by rung."""
    seconds: dict[int, list[float]] = {}
    for folder in plan.files.trials():
        for line in read_metrics(folder.metrics):
            seconds.setdefault(line["rung"], []).append(line["seconds"])
    return {rung: Seconds(*np.percentile(found, [10, 90]).tolist()) for rung, found in seconds.items()}


def measured_timings(plan: Plan) -> dict[int, Seconds]:
    """Trains a few steps of the base on every rung, and remembers what they took."""
    found = {}
    for number, rung in enumerate(plan.rungs, start=1):
        found[number] = Seconds(*time_epoch(plan.search_config({}, rung)))
    remember(plan, found)
    return found


def remember(plan: Plan, timings: Mapping[int, Seconds]) -> None:
    """Keeps timings for later plans with the same base on this machine."""
    _HINTS.keep({_key(plan, plan.rungs[number - 1]): list(seconds) for number, seconds in timings.items()})


def _key(plan: Plan, rung: Rung) -> str:
    """What an epoch's time hangs on: the configuration on the rung, the threads, the machine."""
    plain = {key: value for key, value in plan.search_plain({}, rung).items() if key not in _UNTOUCHED}
    return hint_key({"config": plain, "threads": plan.places.threads_per_slot, "host": platform.node()})
