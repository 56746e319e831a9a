"""Times of an epoch on each rung: from this study's own trials, else from the last time they were measured here."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from orchestrator.study.ladder import Rung
from orchestrator.study.plan import Plan
from trainer.api import Hints, hint_key, known_keys, read_metrics, time_epoch


class Seconds(NamedTuple):
    """Seconds of a fast and of a slow epoch, each with its evaluation, and of opening a trial before the first."""

    low: float
    high: float
    opening: float = 0.0


_HINTS = Hints("timings.json")
_NO_COST = ("place", "identity")  # the roles of keys on which no time depends


def known_timings(plan: Plan) -> dict[int, Seconds]:
    """By rung; those of the study's own trials replace those of the cache."""
    cached = _HINTS.read()
    timings = {}
    for number, rung in enumerate(plan.rungs, start=1):
        if (seconds := cached.get(_key(plan, rung))) is not None:
            timings[number] = Seconds(*(float(part) for part in seconds))
    for number, own in study_timings(plan).items():
        timings[number] = own._replace(opening=timings[number].opening if number in timings else 0.0)
    return timings


def study_timings(plan: Plan) -> dict[int, Seconds]:
    """By rung, from the metrics that the study's trials wrote: the 10th and the 90th percentile of their epochs."""
    seconds: dict[int, list[float]] = {}
    for folder in plan.files.trials():
        for line in read_metrics(folder.metrics):
            seconds.setdefault(line["rung"], []).append(line["seconds"])
    return {rung: Seconds(*np.percentile(epochs, [10, 90]).tolist()) for rung, epochs in seconds.items()}


def measured_timings(plan: Plan) -> dict[int, Seconds]:
    """Trains a few steps of the base on every rung, and keeps their times for later plans."""
    rungs = enumerate(plan.rungs, start=1)
    timings = {number: Seconds(*time_epoch(plan.search_config({}, rung))) for number, rung in rungs}
    remember(plan, timings)
    return timings


def remember(plan: Plan, timings: Mapping[int, Seconds]) -> None:
    """Keeps timings for later plans with the same base on this machine."""
    _HINTS.keep({_key(plan, plan.rungs[number - 1]): list(seconds) for number, seconds in timings.items()})


def _key(plan: Plan, rung: Rung) -> str:
    """All that an epoch's time depends on: the configuration on the rung, the threads, the machine."""
    keys = known_keys(plan.base_config.task).values()
    left_out = {key.path.split(".")[0] for key in keys if not key.roles.isdisjoint(_NO_COST)}
    plain = {name: value for name, value in plan.search_plain({}, rung).items() if name not in left_out}
    return hint_key({"config": plain, "threads": plan.places.threads_per_slot, "host": platform.node()})
