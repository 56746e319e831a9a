"""What failed once more: trials of the search, and promoted runs.

A finished Optuna trial cannot be opened again, so each gets a new one.
"""

from __future__ import annotations

from orchestrator.engine.full_stage import FullStage
from orchestrator.engine.ledger import Ledger
from orchestrator.engine.search_stage import SearchStage
from orchestrator.engine.watcher import Watchers
from orchestrator.storage.opening import open_full, open_search, read_full
from orchestrator.storage.store import Store
from orchestrator.study.folder import RunFolder
from orchestrator.study.plan import Plan
from orchestrator.study.text import counted
from orchestrator.study.trial import TrialState


def reopen_all(plan: Plan, store: Store) -> str:
    """Reopens what failed in both stages; returns what, in one line."""
    search = open_search(store, plan)
    trials = reopen_failed(Ledger(SearchStage(plan, search.load()), search, Watchers()))
    runs = 0
    if read_full(store, plan).failures():  # opening would create the second study where nothing was promoted
        full = open_full(store, plan)
        runs = reopen_failed(Ledger(FullStage(plan, full.load(), ()), full, Watchers()))
    counts = ((trials, "failed trial"), (runs, "failed promoted run"))
    reopened = [counted(count, noun) for count, noun in counts if count]
    return f"{' and '.join(reopened)} tried again" if reopened else "nothing has failed: there is nothing to try again"


def reopen_failed(ledger: Ledger) -> int:
    """Opens a paused trial for each failed one that was not retried yet; returns how many.

    It starts from copies of the failed one's checkpoints. A promoted run has one folder, in which its retry goes on.
    """
    failed, files = ledger.stage.state.failures(), ledger.stage.plan.files
    for old in failed:
        new = TrialState(
            -1, old.index, old.overrides, old.config_key, retry_of=old.number, retries=old.retries + 1,
            seed_index=old.seed_index, source_trial=old.source_trial, weights=old.weights,
        )  # fmt: skip
        ledger.adds(new)
        folder = files.run(new)
        if not new.source_trial:
            _link_checkpoints(files.run(old), folder)
        ledger.retries(old, new, from_checkpoint=bool(folder.checkpoint_files()))
    return len(failed)


def _link_checkpoints(source: RunFolder, target: RunFolder) -> None:
    target.checkpoints.mkdir(parents=True, exist_ok=True)
    for path in source.checkpoint_files():
        copy = target.checkpoints / path.name
        copy.unlink(missing_ok=True)
        copy.hardlink_to(path)
