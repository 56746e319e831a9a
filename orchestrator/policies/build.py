"""The policy that a plan asks for."""

from __future__ import annotations

from orchestrator.planning.settings import PRUNERS
from orchestrator.policies.halving import HalvingPolicy
from orchestrator.policies.policy import Policy, Supply
from orchestrator.policies.pruned import PrunedPolicy
from orchestrator.policies.pruners import PrunerOracle
from orchestrator.study.plan import Plan
from orchestrator.study.state import PRUNED, StudyState


def search_policy(plan: Plan) -> Policy:
    """The policy of a study's search; a closed study asks for nothing new."""
    supply = Supply(len(plan.trials), 0 if plan.closed else plan.n_trials, bool(plan.space))
    if plan.pruner["name"] == "halving":
        factor = plan.pruner["reduction_factor"]
        return HalvingPolicy(plan.metric, plan.rungs, supply, factor, plan.threshold, plan.trust)
    asked = PRUNERS[plan.pruner["name"]].make is not None
    oracle = PrunerOracle(plan.pruner, plan.metric.direction == "maximize") if asked else None
    return PrunedPolicy(plan.metric, plan.rungs, supply, plan.pruner, oracle, plan.threshold, plan.trust)


def full_policy(plan: Plan, runs: int) -> Policy:
    """Every promoted run trains to its end."""
    return PrunedPolicy(plan.metric, (plan.full,), Supply(runs, runs), {"name": "none"}, None)


def teach(policy: Policy, state: StudyState) -> None:
    """Tells a new policy what happened in earlier calls, trial by trial in the order of their numbers."""
    for trial in state.in_order():
        if trial.origin is None:
            for epoch in sorted(trial.values):
                policy.learn(trial, epoch, trial.values[epoch])
                if epoch < trial.epochs or (trial.status == PRUNED and not trial.results):
                    policy.recall(trial)  # not where the end of the rung decided, or where nothing has yet
            if trial.is_final:
                policy.closed(trial)
