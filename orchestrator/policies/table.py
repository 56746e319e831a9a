"""The policies by name, and the one that a plan asks for."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from orchestrator.policies.policy import Policy, PolicyKind, Setting
from orchestrator.policies.straight import StraightPolicy
from orchestrator.policies.supply import Supply
from orchestrator.study.plan import Plan

# Name, as `--pruner` takes it → "module:object"; loaded when chosen.
POLICIES: dict[str, str] = {
    "none": "orchestrator.policies.straight:KIND",
    "halving": "orchestrator.policies.halving:KIND",
    "median": "orchestrator.policies.optuna_pruners:MEDIAN",
    "percentile": "orchestrator.policies.optuna_pruners:PERCENTILE",
    "threshold": "orchestrator.policies.optuna_pruners:THRESHOLD",
    "patient": "orchestrator.policies.optuna_pruners:PATIENT",
    "successive_halving": "orchestrator.policies.optuna_pruners:SUCCESSIVE_HALVING",
    "hyperband": "orchestrator.policies.optuna_pruners:HYPERBAND",
}
USUAL_ON_ONE_RUNG, USUAL_ON_LADDER = "median", "halving"


@cache
def policy_kind(name: str) -> PolicyKind:
    module, _, attribute = POLICIES[name].partition(":")
    kind: PolicyKind = getattr(import_module(module), attribute)
    return kind


def search_policy(plan: Plan) -> Policy:
    """The policy of a study's search; a closed study asks for nothing new."""
    supply = Supply(len(plan.trials), 0 if plan.closed else plan.n_trials, bool(plan.space))
    setting = Setting(plan.metric, plan.rungs, supply, plan.pruner, plan.threshold, plan.draws)
    return policy_kind(plan.pruner["name"]).make(setting)


def priced_policy(plan: Plan, trials: int) -> Policy:
    """The policy by whose simulation a study of so many trials is priced."""
    kind = policy_kind(plan.pruner["name"])
    setting = Setting(plan.metric, plan.rungs, Supply(trials, trials), plan.pruner, draws=plan.draws)
    return StraightPolicy(setting) if kind.needs_curves else kind.make(setting)


def full_policy(plan: Plan, runs: int) -> Policy:
    """Every promoted run trains to its end."""
    return StraightPolicy(Setting(plan.metric, (plan.full,), Supply(runs, runs)))
