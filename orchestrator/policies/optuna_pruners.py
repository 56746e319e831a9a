"""Policies with Optuna's pruners: trials train one after another to the end of the budget, unless they are pruned.

Optuna's pruners compare values of the same epoch, so they need a study with a single rung.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.policies.policy import (
    Circumstances,
    Continue,
    Options,
    PolicyKind,
    Setting,
    Step,
    Verdict,
    unchanged,
    unfinished,
)
from orchestrator.policies.pruner_mirror import PrunerMirror
from orchestrator.policies.reasons import an, checked_factor, ordinal
from orchestrator.policies.straight import StraightPolicy
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, TrialState

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

STARTUP_TRIALS = 5
_COMPARED = {"n_startup_trials": STARTUP_TRIALS, "n_warmup_steps": 0}
_HALVED = {"min_resource": 1, "reduction_factor": 3}


@dataclass
class PrunerPolicy:
    """A `StraightPolicy` that also asks a pruner after every evaluation."""

    setting: Setting
    pruner: BasePruner
    _mirror: PrunerMirror = field(init=False)
    _straight: StraightPolicy = field(init=False)

    def __post_init__(self) -> None:
        self._mirror = PrunerMirror(self.pruner, self.setting.metric)
        self._straight = StraightPolicy(self.setting)

    def next(self, state: StudyState, busy: Collection[int]) -> Step | None:
        trial = unfinished(state, busy)
        if trial is not None:
            return Continue(trial.number, min(trial.epochs + 1, self.setting.rungs[trial.rung - 1].epochs))
        return self.setting.supply.next(state)

    def judge(self, trial: TrialState, state: StudyState, stopped_because: str = "") -> Verdict:
        if trial.rung in trial.results or trial.rung in trial.spared:
            return self._straight.judge(trial, state, stopped_because)
        if not self._mirror.should_prune(trial, state):
            return Verdict("go_on")
        why = f"at epoch {trial.epochs} of {self.setting.rungs[trial.rung - 1].epochs}: {self._why(trial, state)}"
        if self.setting.draws.audited(trial.number):
            return Verdict("go_on", f"goes on as {an('audit')}, or would be pruned {why}", spared="audit")
        return Verdict("prune", why)

    def _why(self, trial: TrialState, state: StudyState) -> str:
        """The trial's rank among all at the same epoch, and the limit that it missed where the pruner has one."""
        metric, epoch = self.setting.metric, trial.epochs
        value = trial.evaluations[epoch].value
        values = [o.evaluations[epoch].value for o in state.in_order() if o.origin is None and epoch in o.evaluations]
        place = 1 + sum(metric.better(other, value) for other in values)
        compared = f"{metric.label} {value:.4g} is {ordinal(place)} of {len(values)}"
        cut = self._cut(epoch, state)
        return f"{compared}, {cut}" if cut else f"{compared} ({self.setting.options['name']} pruner)"

    def _cut(self, epoch: int, state: StudyState) -> str:
        """The value that Optuna's percentile pruners compare with."""
        name, metric = self.setting.options["name"], self.setting.metric
        done = [t for t in state.with_status(COMPLETED) if t.origin is None and epoch in t.evaluations]
        if not done or name not in ("median", "percentile"):
            return ""
        share = float(self.setting.options.get("percentile", 50.0))
        keys = [metric.key(trial.evaluations[epoch].value) for trial in done]
        cut = metric.key(float(np.percentile(keys, share)))
        return f"the {'median' if share == 50.0 else 'cut'} is {cut:.4g}" if math.isfinite(cut) else ""


def _made(name: str, options: Options) -> BasePruner:
    """A pruner of Optuna by its class; our options have the names of its arguments."""
    pruner: BasePruner = resolve_name(f"optuna.pruners:{name}")(**_arguments(options))
    return pruner


def _patient(options: Options) -> BasePruner:
    from optuna.exceptions import ExperimentalWarning
    from optuna.pruners import MedianPruner, PatientPruner

    arguments = _arguments(options)
    own = {name: arguments.pop(name) for name in ("patience", "min_delta")}
    with warnings.catch_warnings():  # users of a study need not know that Optuna may change this pruner
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PatientPruner(MedianPruner(**arguments), **own)


def _arguments(options: Options) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "name"}


def _bounds(options: Options, _given: Options, circumstances: Circumstances) -> Options:
    """Completes the options of the threshold pruner: without a bound it takes `--early-stop-threshold`."""
    if options["lower"] is not None or options["upper"] is not None:
        return options
    if circumstances.threshold is None:
        raise ValueError("needs a bound: --early-stop-threshold X, or search.pruner {name: threshold, lower: X}")
    side = "lower" if circumstances.metric.better(1.0, 0.0) else "upper"
    return {**options, side: circumstances.threshold}


def _brackets(options: Options, given: Options, circumstances: Circumstances) -> Options:
    """Completes the options of Hyperband: without `max_resource` its brackets span the budget."""
    most = given.get("max_resource", circumstances.epochs)
    if most < options["min_resource"]:
        raise ValueError(f"max_resource must be at least min_resource, {options['min_resource']}, not {most}")
    return checked_factor({**options, "max_resource": most}, given, circumstances)


def _kind(
    summary: str,
    make: Callable[[Options], BasePruner],
    options: Options,
    complete: Callable[[Options, Options, Circumstances], Options] = unchanged,
) -> PolicyKind:
    def completed(options: Options, given: Options, circumstances: Circumstances) -> Options:
        whole = complete(options, given, circumstances)
        try:
            make(whole)  # Optuna's own checks
        except TypeError as error:
            raise ValueError(str(error)) from None
        return whole

    def policy(setting: Setting) -> PrunerPolicy:
        return PrunerPolicy(setting, make(setting.options))

    return PolicyKind(summary, policy, options, completed, draws=frozenset({"audit"}), needs_curves=True)


MEDIAN = _kind("worse than the median of completed trials at the same epoch", partial(_made, "MedianPruner"), _COMPARED)
PERCENTILE = _kind(
    "not among the best percent of completed trials at the same epoch",
    partial(_made, "PercentilePruner"),
    {"percentile": 25.0, **_COMPARED},
)
THRESHOLD = _kind(
    "outside fixed bounds at any epoch",
    partial(_made, "ThresholdPruner"),
    {"lower": None, "upper": None, "n_warmup_steps": 0},
    _bounds,
)
PATIENT = _kind(
    "worse than the median, and without progress for a while",
    _patient,
    {"patience": 1, "min_delta": 0.0, **_COMPARED},
)
SUCCESSIVE_HALVING = _kind(
    "not among the best part of the trials, at epochs that grow by a factor",
    partial(_made, "SuccessiveHalvingPruner"),
    {**_HALVED, "min_early_stopping_rate": 0},
    checked_factor,
)
HYPERBAND = _kind(
    "successive halving in brackets that begin at different epochs",
    partial(_made, "HyperbandPruner"),
    {**_HALVED, "max_resource": 1},
    _brackets,
)
