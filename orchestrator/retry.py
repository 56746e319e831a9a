"""Failed trials once more. A finished Optuna trial cannot be opened again, so each gets a new one."""

from __future__ import annotations

from orchestrator.plan import Plan
from orchestrator.stage import SearchStage
from orchestrator.state import FAILED, PAUSED, TrialState
from orchestrator.study import Study


def reopen_failed(plan: Plan, study: Study) -> int:
    """Opens a paused trial for each failed one that was not retried yet, beside copies of its checkpoints."""
    stage = SearchStage(plan, study)
    state = stage.state
    retried = {trial.retry_of for trial in state.in_order()}
    failed = [t for t in state.with_status(FAILED) if t.origin is None and t.number not in retried]
    for old in failed:
        new = TrialState(-1, old.index, old.overrides, old.config_key, retry_of=old.number, retries=old.retries + 1)
        new.status = PAUSED
        study.add(new, plan.values_of(new.overrides))
        if _link_checkpoints(stage, old, new):  # what they hold is known already
            new.rung, new.step, new.spared = old.rung, old.step, dict(old.spared)
            new.values, new.losses, new.results = dict(old.values), dict(old.losses), dict(old.results)
            for epoch in new.values:
                study.evaluated(new, epoch)
        state.decide(new, f"trial {new.trial_id} tries trial {old.trial_id} again, which failed ({old.failure_kind})")
        study.decided(new)
    return len(failed)


def _link_checkpoints(stage: SearchStage, old: TrialState, new: TrialState) -> bool:
    """Whether there were any."""
    source, target = stage.folder(old) / "checkpoints", stage.folder(new) / "checkpoints"
    target.mkdir(parents=True, exist_ok=True)
    found = list(source.glob("*.pth"))
    for path in found:
        copy = target / path.name
        copy.unlink(missing_ok=True)
        copy.hardlink_to(path)
    return bool(found)
