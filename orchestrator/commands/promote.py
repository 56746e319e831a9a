"""The command `promote`: full training of the best trials after the search, on the same data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.commands.session import work
from orchestrator.engine.promotion import chosen
from orchestrator.output.views import View
from orchestrator.storage.lock import StudyLock
from orchestrator.storage.opening import existing, read_full, read_plan, read_search
from trainer.api import ConfigError, Problem, check_data


def promote(folder: Path, top: int, seeds: int, view: View, from_checkpoint: bool = False) -> int:
    """Trains the best `top` trials at full budget in `seeds` seeds each. Returns the exit status."""
    plan = replace(read_plan(folder), from_checkpoint=from_checkpoint)
    now = check_data(plan.base_config).fingerprint
    if now != plan.data_fingerprint:
        what = f"the data changed since the search ({plan.data_fingerprint} then, {now} now)"
        advice = "restore it, or accept it with the search's own command and --force"
        raise ConfigError([Problem(f"study {plan.name}", f"{what}; {advice}")])
    with StudyLock(plan.files), existing(plan) as store:
        # Before the plan is written, so that a refused promotion does not change it.
        if not chosen(plan, read_search(store, plan), top, seeds, read_full(store, plan)):
            raise ConfigError([Problem(str(plan.folder), "no trial has completed, so none can be promoted")])
        return work(plan, store, view, top, seeds, search=False)
