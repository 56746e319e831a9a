"""The policies by name, and the policies of a plan."""

from __future__ import annotations

from functools import cache
from pkgutil import resolve_name

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
    kind: PolicyKind = resolve_name(POLICIES[name])
    return kind


def search_policy(plan: Plan) -> Policy:
    """The policy of a study's search; in a closed study it asks for no new trials."""
    supply = Supply(len(plan.trials), 0 if plan.closed else plan.n_trials, bool(plan.space))
    setting = Setting(plan.metric, plan.rungs, supply, plan.pruner, plan.threshold, plan.draws)
    return policy_kind(plan.pruner["name"]).make(setting)


def priced_policy(plan: Plan, trials: int) -> Policy:
    """The policy to simulate for the price of a study with so many trials."""
    kind = policy_kind(plan.pruner["name"])
    setting = Setting(plan.metric, plan.rungs, Supply(trials, trials), plan.pruner, draws=plan.draws)
    return StraightPolicy(setting) if kind.needs_curves else kind.make(setting)


def full_policy(plan: Plan, runs: int) -> Policy:
    """The policy of full training: every promoted run trains to the end."""
    return StraightPolicy(Setting(plan.metric, (plan.full,), Supply(runs, runs)))
