"""The price of a study, computed before it runs: trials, epochs, images, and time where epochs were timed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orchestrator.policies.simulate import simulate
from orchestrator.policies.table import policy_kind, priced_policy
from orchestrator.results.timings import Seconds
from orchestrator.slots.machine import visible_gpus
from orchestrator.study.draws import NO_DRAWS
from orchestrator.study.ladder import LONGEST_WARMUP
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState
from orchestrator.study.text import counted
from orchestrator.study.trial import PAUSED, RUNNING

_MOST_ORDERS, _LEAST_ORDERS = 20, 3  # random orders of the trials that are simulated; fewer where trials are many
_SIMULATED_TRIALS = 300  # a larger study is scaled up from so many


@dataclass(frozen=True)
class RungCost:
    """One rung's part of the price: how many trials reach it, usually and at most, and what it adds for each."""

    words: str
    usual: float
    most: int
    epochs: int
    images: int
    seconds: Seconds | None


@dataclass(frozen=True)
class Price:
    """A study's cost. `usual` is the mean over random orders of the trials' values, `most` an upper bound."""

    trials: int
    repeats: int
    rungs: tuple[RungCost, ...]
    workers: int

    @property
    def usual_epochs(self) -> float:
        return sum(rung.usual * rung.epochs for rung in self.rungs)

    @property
    def most_epochs(self) -> int:
        return sum(rung.most * rung.epochs for rung in self.rungs)

    @property
    def usual_images(self) -> float:
        return sum(rung.usual * rung.images for rung in self.rungs)

    @property
    def slot_seconds(self) -> tuple[float, float] | None:
        """Seconds with fast and with slow epochs, in the usual case; None where a rung was never timed."""
        low = high = 0.0
        for rung in self.rungs:
            if rung.seconds is None:
                return None
            low += rung.usual * (rung.epochs * rung.seconds.low + rung.seconds.opening)
            high += rung.usual * (rung.epochs * rung.seconds.high + rung.seconds.opening)
        return low, high

    def plain(self) -> dict[str, Any]:
        """As `plan --json` shows it."""
        seconds = self.slot_seconds
        rungs = [
            {
                "rung": number,
                "budget": rung.words,
                "trials": {"usual": round(rung.usual, 1), "most": rung.most},
                "epochs_each": rung.epochs,
                "images_each": rung.images,
                "seconds_per_epoch": [rung.seconds.low, rung.seconds.high] if rung.seconds else None,
            }
            for number, rung in enumerate(self.rungs, start=1)
        ]
        return {
            "trials": self.trials,
            "duplicates": self.repeats,
            "rungs": rungs,
            "epochs": {"usual": round(self.usual_epochs, 1), "most": self.most_epochs},
            "images": {"usual": round(self.usual_images)},
            "slot_hours": [part / 3600.0 for part in seconds] if seconds else None,
            "hours": [part / 3600.0 / self.workers for part in seconds] if seconds else None,
        }


def price_of(plan: Plan, timings: Mapping[int, Seconds]) -> Price:
    """The price of the whole study, including what is done already."""
    planned = plan.n_trials if plan.space else min(plan.n_trials, len(plan.trials))
    trained = planned - plan.repeats
    usual = usual_reach(plan, trained)
    rungs = []
    for number, rung in enumerate(plan.rungs, start=1):
        epochs = rung.epochs - plan.start_of(number)
        images = plan.images(rung) * epochs
        rungs.append(RungCost(rung.words(), usual[number - 1], trained, epochs, images, timings.get(number)))
    return Price(trained, plan.repeats, tuple(rungs), plan.places.workers)


def usual_reach(plan: Plan, trials: int) -> list[float]:
    """How many of `trials` trials train through each rung, as the mean over simulated studies in random order.

    The study's own policy decides in them. A trial that trains a part of a rung counts as that part.
    """
    simulated = min(trials, _SIMULATED_TRIALS)
    if not simulated:
        return [0.0] * len(plan.rungs)
    generator = np.random.default_rng(0)
    starts = np.array([plan.start_of(number) for number in range(1, len(plan.rungs) + 1)])
    ends = np.array([rung.epochs for rung in plan.rungs])
    orders = max(_LEAST_ORDERS, min(_MOST_ORDERS, _SIMULATED_TRIALS // simulated))
    totals = np.zeros(len(plan.rungs))
    for _ in range(orders):
        values = generator.permutation(simulated).tolist()
        state, policy = StudyState(), priced_policy(plan, simulated)
        for _ in simulate(policy, plan.rungs, lambda _n, _s: {}, lambda t, _e, v=values: v[t.number], state):  # type: ignore[misc]
            pass
        trained = np.array([[trial.epochs] for trial in state.in_order()])
        totals += np.clip((trained - starts) / (ends - starts), 0.0, 1.0).sum(0)
    return [float(total) / orders * trials / simulated for total in totals]


def price_words(plan: Plan, price: Price, state: StudyState | None = None) -> Iterator[str]:
    """The price in lines; with a study's state also how much of it is left."""
    yield from _epochs(price)
    if price.repeats:
        verbs = "repeats a configuration and takes" if price.repeats == 1 else "repeat a configuration and take"
        yield f"{counted(price.repeats, 'further trial')} {verbs} its result"
    yield from _trust(plan, price)
    warmup = plan.warmup({})
    if warmup is not None:
        yield f"warm-up: {min(warmup, LONGEST_WARMUP):.3g} of a trial's progress, as in full training"
    yield _time(price, state)
    if plan.promote:
        runs = counted(plan.promote * plan.promote_seeds, "promoted run")
        yield f"then {runs} × {counted(plan.full.epochs, 'epoch')} ({plan.full.words()})"


def _trust(plan: Plan, price: Price) -> Iterator[str]:
    """The cost of measuring how far the study can be trusted."""
    draws, drawn = plan.draws, policy_kind(plan.pruner["name"]).draws
    if draws.audit and drawn == {"audit"}:
        yield f"{draws.audit:.0%} of the trials that would be pruned are trained to the end (--audit)"
    if "anchor" not in drawn or not draws.chance:
        return
    without = price_of(replace(plan, draws=NO_DRAWS), {})
    more = price.usual_epochs - without.usual_epochs
    shares = f"{draws.anchors:.0%} continue for one rung (--anchors) and {draws.audit:.0%} to the end (--audit)"
    yield f"of the trials that would be paused {shares}: about {more:.0f} of these epochs"


def _epochs(price: Price) -> Iterator[str]:
    if len(price.rungs) == 1:
        rung = price.rungs[0]
        trials, epochs = counted(price.trials, "trial"), counted(rung.epochs, "epoch")
        yield f"{trials} × {epochs} = {counted(price.most_epochs, 'epoch')} at most ({rung.words})"
        return
    for number, rung in enumerate(price.rungs, start=1):
        trials = counted(round(rung.usual), "trial")
        epochs = counted(rung.epochs, "epoch" if number == 1 else "more epoch")
        yield f"rung {number} ({rung.words}): about {trials} × {epochs}"
    images = f"{price.usual_images:,.0f} images"
    yield f"{price.trials} trials: about {price.usual_epochs:.0f} epochs, {images}; at most {price.most_epochs} epochs"


def _time(price: Price, state: StudyState | None) -> str:
    seconds = price.slot_seconds
    if seconds is None:
        return "no timing yet: the run prints an estimate after its first epochs; --measure times a few steps now"
    if state and state.opened() >= price.trials + price.repeats:
        open_now = [t for t in state.with_status(RUNNING, PAUSED) if t.origin is None]
        if all(t.rung in t.results for t in open_now):
            return "nothing is left to do" + ("; with more trials, paused ones could continue" if open_now else "")
    done = sum(t.seconds for t in state.in_order() if t.origin is None) if state else 0.0
    left = [max(0.0, part - done) / price.workers for part in seconds]
    what = "left" if done else "in total"
    unit = "GPU-hours" if visible_gpus() else "slot-hours"
    hours = f"{_range(seconds[0] / 3600, seconds[1] / 3600)} {unit} in total"
    return f"about {_span(left[0], left[1])} {what}; {hours}"


def _span(low: float, high: float) -> str:
    unit, size = ("h", 3600.0) if high >= 5400 else ("min", 60.0) if high >= 90 else ("s", 1.0)
    return f"{_range(low / size, high / size)} {unit}"


def _range(low: float, high: float) -> str:
    """`3 to 4.5`; only `3` where both are the same to two digits."""
    first, last = f"{low:.2g}", f"{high:.2g}"
    return first if first == last else f"{first} to {last}"
