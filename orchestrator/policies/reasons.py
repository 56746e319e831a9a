"""How policies put their reasons into words."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.study.ladder import Rung
from orchestrator.study.state import TrialState
from trainer.api import Metric


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st …"""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def an(spared: str) -> str:
    """As what a trial is spared: `an anchor`, `an audited trial`."""
    return "an anchor" if spared == "anchor" else "an audited trial"


def rung_words(rungs: Sequence[Rung], number: int) -> str:
    """`rung 2 of 3 (3 epochs, 500 images @160)`."""
    return f"rung {number} of {len(rungs)} ({rungs[number - 1].words()})"


def eliminated(metric: Metric, value: float, threshold: float | None) -> str:
    """Why a value falls to the user's threshold, compared strictly; empty where it does not."""
    if threshold is None or not metric.better(threshold, value):
        return ""
    side = "below" if metric.direction == "maximize" else "above"
    return f"{metric.label} {value:.4g} is {side} the threshold {threshold:.4g}"


def early_words(trial: TrialState, stopped_because: str) -> str:
    return f"; stopped early at epoch {trial.epochs}: {stopped_because}" if stopped_because else ""
