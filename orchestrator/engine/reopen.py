"""What failed once more: trials of the search, and promoted runs.

A finished Optuna trial cannot be opened again, so each gets a new one.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.engine.stage import FullStage, SearchStage, Stage
from orchestrator.storage.opening import open_full, open_search, read_full
from orchestrator.storage.optuna_study import Study
from orchestrator.study.plan import Plan
from orchestrator.study.state import PAUSED, TrialState


def reopen_all(plan: Plan) -> str:
    """Reopens what failed in both stages; says what."""
    study = open_search(plan)
    trials = reopen_failed(plan, study)
    study.close()
    runs = 0
    if read_full(plan).failures():  # opening would create the second study where nothing was promoted
        study = open_full(plan)
        runs = reopen_failed_runs(plan, study)
        study.close()
    counts = ((trials, "failed trial"), (runs, "failed promoted run"))
    said = [f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts if count]
    return f"{' and '.join(said)} tried again" if said else "nothing has failed: there is nothing to try again"


def reopen_failed(plan: Plan, study: Study) -> int:
    """Opens a paused trial for each failed one that was not retried yet, beside copies of its checkpoints."""
    stage = SearchStage(plan, study)
    failed = stage.state.failures()
    for old in failed:
        new = _opened(stage, old)
        _take_over(stage, old, new, _link_checkpoints(stage.folder(old), stage.folder(new)))
        words = f"trial {new.trial_id} tries trial {old.trial_id} again, which failed ({old.failure_kind})"
        _decide(stage, new, words)
    return len(failed)


def reopen_failed_runs(plan: Plan, study: Study) -> int:
    """The same for promoted runs. A run has one folder, in which its retry goes on."""
    stage = FullStage(plan, study, [])
    failed = stage.state.failures()
    for old in failed:
        new = _opened(stage, old)
        found = any((stage.folder(new) / "checkpoints").glob("*.pth"))
        _take_over(stage, old, new, found)
        if found:  # the curve stands once, as the retry's
            new.ended, new.slots, new.parts = dict(old.ended), dict(old.slots), dict(old.parts)
        _decide(stage, new, f"{new.label} is tried again: it failed ({old.failure_kind})")
    return len(failed)


def _opened(stage: Stage, old: TrialState) -> TrialState:
    new = TrialState(
        -1, old.index, old.overrides, old.config_key, retry_of=old.number, retries=old.retries + 1,
        seed_index=old.seed_index, source_trial=old.source_trial, weights=old.weights,
    )  # fmt: skip
    new.status = PAUSED
    stage.study.add(new, stage.plan.values_of(new.overrides))
    return new


def _take_over(stage: Stage, old: TrialState, new: TrialState, from_checkpoint: bool) -> None:
    """What the checkpoints hold is known already; without any a retry begins anew."""
    if from_checkpoint:
        new.rung, new.step, new.spared = old.rung, old.step, dict(old.spared)
        new.values, new.losses, new.results = dict(old.values), dict(old.losses), dict(old.results)
        for epoch in new.values:
            stage.study.evaluated(new, epoch)


def _decide(stage: Stage, new: TrialState, line: str) -> None:
    stage.state.decide(new, line)
    stage.study.decided(new)


def _link_checkpoints(source: Path, target: Path) -> bool:
    """Whether there were any."""
    source, target = source / "checkpoints", target / "checkpoints"
    target.mkdir(parents=True, exist_ok=True)
    found = list(source.glob("*.pth"))
    for path in found:
        copy = target / path.name
        copy.unlink(missing_ok=True)
        copy.hardlink_to(path)
    return bool(found)
