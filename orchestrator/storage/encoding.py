"""A trial's state ↔ an Optuna trial: which attribute holds what.

`identity` never changes; `kept` is rewritten with each decision; values by epoch are Optuna's intermediate values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING, Evaluated, TrialState

STATES = {
    RUNNING: OptunaState.RUNNING,
    PAUSED: OptunaState.WAITING,
    COMPLETED: OptunaState.COMPLETE,
    PRUNED: OptunaState.PRUNED,
    FAILED: OptunaState.FAIL,
}
_STATUSES = {state: status for status, state in STATES.items()}
_KEPT = (
    "rung", "step", "seconds", "retries", "checkpoint", "device", "failure_kind", "failure_line", "eliminated",
    "wasted",
)  # fmt: skip
_IDENTITY = ("index", "config_key", "origin", "retry_of", "seed_index", "source_trial", "weights")


def identity(trial: TrialState) -> dict[str, Any]:
    return {**{name: getattr(trial, name) for name in _IDENTITY}, "overrides": dict(trial.overrides)}


def kept(trial: TrialState) -> dict[str, Any]:
    """What is known of a trial beside its values. JSON makes text of numbers that are keys."""
    whole = [(str(epoch), one) for epoch, one in trial.evaluations.items() if one.loss is not None]
    return {
        **{name: getattr(trial, name) for name in _KEPT},
        "losses": {epoch: one.loss for epoch, one in whole},
        "results": {str(rung): value for rung, value in trial.results.items()},
        "ended": {epoch: one.ended for epoch, one in whole if one.ended is not None},
        "slots": {epoch: one.slot for epoch, one in whole if one.slot},
        "spared": {str(rung): why for rung, why in trial.spared.items()},
        "parts": {
            epoch: [one.opening_seconds, one.evaluation_seconds, one.checkpoint_seconds]
            for epoch, one in whole
            if one.opening_seconds is not None
        },
        "decisions": [list(decision) for decision in trial.decisions],
    }


def trial_state(frozen: FrozenTrial) -> TrialState:
    """What an Optuna trial of ours says; also one written by an older version."""
    attrs = frozen.user_attrs
    known = attrs.get("kept", {})
    fixed = attrs.get("identity", attrs)  # one by one in studies of the first version
    decisions = known.get("decisions", attrs.get("decisions", []))
    results = _by_number(known, "results")
    if "results" not in known and frozen.state is OptunaState.COMPLETE and frozen.value is not None:
        results = {known.get("rung", 1): frozen.value}  # written before studies had ladders
    return TrialState(
        number=frozen.number,
        overrides=fixed["overrides"],
        status=_STATUSES[frozen.state],
        evaluations=dict(_evaluations(frozen, known)),
        results=results,
        spared=_by_number(known, "spared"),
        reason=attrs.get("reason", ""),
        decisions=[(int(sequence), str(line)) for sequence, line in decisions],
        **{name: fixed[name] for name in _IDENTITY if name in fixed},
        **{name: known[name] for name in _KEPT if name in known},
    )


def _evaluations(frozen: FrozenTrial, known: Mapping[str, Any]) -> list[tuple[int, Evaluated]]:
    losses, ended, slots, parts = (_by_number(known, name) for name in ("losses", "ended", "slots", "parts"))
    return [
        (
            epoch,
            Evaluated(
                epoch, float(value), losses.get(epoch), slots.get(epoch, ""), ended.get(epoch),
                *parts.get(epoch, (None, None, None)),
            ),
        )
        for epoch, value in sorted(frozen.intermediate_values.items())
    ]  # fmt: skip


def _by_number(known: Mapping[str, Any], name: str) -> dict[int, Any]:
    """By epoch or by rung."""
    return {int(number): value for number, value in known.get(name, {}).items()}
