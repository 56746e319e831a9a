"""How policies word their reasons, and the end of a trial that all of them share."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.policies.policy import Circumstances, Options, Setting, Verdict
from orchestrator.study.ladder import Rung
from orchestrator.study.trial import TrialState

LEAST_REDUCTION_FACTOR = 2


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st …"""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def an(drawn: str) -> str:
    """As what a trial continues: `an anchor`, `an audited trial`."""
    return "an anchor" if drawn == "anchor" else "an audited trial"


def rung_words(rungs: Sequence[Rung], number: int) -> str:
    """`rung 2 of 3 (3 epochs, 500 images @160)`."""
    return f"rung {number} of {len(rungs)} ({rungs[number - 1].words()})"


def early_words(trial: TrialState, stopped_because: str) -> str:
    return f"; stopped early at epoch {trial.epochs}: {stopped_because}" if stopped_because else ""


def at_top(setting: Setting, trial: TrialState, stopped_because: str) -> Verdict:
    """The end of a trial that has its result on the last rung: complete, or pruned by the user's threshold."""
    metric, threshold = setting.metric, setting.threshold
    value, where = trial.results[trial.rung], rung_words(setting.rungs, trial.rung)
    if threshold is not None and metric.better(threshold, value):  # strictly
        side = "below" if value < threshold else "above"
        reason = f"at {where}: {metric.label} {value:.4g} is {side} the threshold {threshold:.4g}"
        return Verdict("prune", reason, eliminated=True)
    return Verdict("complete", f"at {where}: {metric.label} {value:.4g}{early_words(trial, stopped_because)}")


def checked_factor(options: Options, _given: Options, _circumstances: Circumstances) -> Options:
    """`ValueError` where a reduction factor is too small to leave a trial behind."""
    factor = options["reduction_factor"]
    if factor < LEAST_REDUCTION_FACTOR:
        raise ValueError(f"reduction_factor must be at least {LEAST_REDUCTION_FACTOR}, not {factor:g}")
    return options
