"""What the commands that train share: both stages over one set of slots, signals, the exit status."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from orchestrator.engine.checkpoint_quota import CheckpointKeeper
from orchestrator.engine.driver import Driver, Ending, Stop
from orchestrator.engine.failures import FailurePolicy
from orchestrator.engine.full_stage import FullStage
from orchestrator.engine.ledger import Ledger
from orchestrator.engine.promotion import chosen, failed_before, set_aside
from orchestrator.engine.search_stage import SearchStage
from orchestrator.engine.watcher import Watchers
from orchestrator.output.best import crown
from orchestrator.output.dashboard_notes import DashboardSamples, annotate
from orchestrator.output.study_files import StudyFiles, write_plan
from orchestrator.output.views import View, summary_line
from orchestrator.results.environment import write_environment
from orchestrator.results.next_steps import next_steps
from orchestrator.results.timings import known_timings, remember
from orchestrator.slots.slot import Slots
from orchestrator.slots.table import open_slots
from orchestrator.storage.opening import open_full, open_search, read_aside, read_full
from orchestrator.storage.store import Store
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState
from orchestrator.study.text import counted
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, RUNNING
from trainer.api import RunConfig, prepare_data

DONE, FAILURE, USAGE, TOO_MANY_FAILURES = 0, 1, 2, 3


def work(plan: Plan, store: Store, view: View, top: int, seeds: int, search: bool, again: bool = False) -> int:
    """Searches (where asked) and promotes; `again`: there are promoted runs to continue. Returns the exit status."""
    # Before the plan is written: one with a wrong URL, or with data that cannot be used, must not bind the next call.
    study = open_search(store, plan)
    build_data(plan.search_config({}, plan.rungs[0]) if search else plan.base_config, view.console)
    write_plan(plan)
    write_environment(plan)
    stage = SearchStage(plan, study.load())
    files = StudyFiles(plan, stage.state, read_full(store, plan))
    watchers = Watchers(files, view)
    ledger = Ledger(stage, study, watchers, CheckpointKeeper(plan))
    watchers.add(DashboardSamples(plan, ledger))
    with view, _signals() as stop:
        office = _Office(plan, stop)
        try:
            ending: Ending = "done"
            if search:
                ending = office.drive(ledger)
                watchers.line(summary_line(plan, stage.state))
                remember(plan, known_timings(plan))
            if ending == "done" and (top > 0 or again):
                ending = _promote(office, store, stage, files, watchers, top, seeds)
        finally:
            office.close()
            files.finish()
    if ending != "stopped":  # a person who stops a study does not wait for the import of the dashboard
        annotate(plan, ledger, files.full)
    return _conclude(plan, stage.state, files.full, ending, stop, view)


def _promote(
    office: _Office, store: Store, search: SearchStage, files: StudyFiles, watchers: Watchers, top: int, seeds: int
) -> Ending:
    """Trains the best in full, and writes `best.yaml` from the winner."""
    plan = search.plan
    runs = chosen(plan, search.state, top, seeds, files.full)
    if len(runs) < top * seeds:
        watchers.line(f"{len(runs) // seeds} of {top} trials can be promoted: no more completed")
    aside = read_aside(store, plan)
    study = open_full(store, plan)
    full = FullStage(plan, study.load(), runs)
    files.full = full.state
    for line in (*set_aside(plan, aside), *failed_before(plan, full.state, runs)):
        watchers.line(line)
    ending = office.drive(Ledger(full, study, watchers), search.state.slot_seconds() + aside.slot_seconds())
    if ending == "done":
        watchers.line(crown(plan, search.state, full.state))
    return ending


class _Office:
    """The slots of one call, opened when the first stage has work for them."""

    def __init__(self, plan: Plan, stop: Stop) -> None:
        self.plan, self.stop = plan, stop
        self._slots: Slots | None = None
        self._seconds: float | None = None

    def drive(self, ledger: Ledger, before: float = 0.0) -> Ending:
        """Runs a stage; `before` is what slots spent on the stage before it."""
        stage, limits, places = ledger.stage, self.plan.limits, self.plan.places
        if stage.policy.next(stage.state, ()) is None and not stage.state.with_status(RUNNING, PAUSED):
            return "failures" if FailurePolicy(limits.max_failures).too_many(stage.state) else "done"
        if self._slots is None:
            log = self.plan.files.slots_log
            self._slots = open_slots(places.slots, places.workers, places.threads_per_slot, log, limits.stall_seconds)
        elapsed = stage.state.seconds_before if self._seconds is None else self._seconds
        driver = Driver(ledger, self._slots, limits, self.stop, seconds_before=elapsed, slot_seconds_elsewhere=before)
        ending = driver.run()
        self._seconds = driver.seconds()
        return ending

    def close(self) -> None:
        if self._slots is not None:
            self._slots.close()


def build_data(config: RunConfig, console: Console) -> None:
    """What the data still lacks is built once, before any slot needs it."""
    columns = (TextColumn("preparing the data, once"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("data", total=None, visible=False)
        prepare_data(config, lambda done, of: bar.update(line, completed=done, total=of, visible=True))


def _conclude(plan: Plan, search: StudyState, full: StudyState | None, ending: Ending, stop: Stop, view: View) -> int:
    """The last lines, and the exit status."""
    if ending == "stopped":
        view.say("stopped; the same command carries on")
        return 128 + (stop.number or signal.SIGTERM)
    if ending == "disk":
        view.say(
            "stopped: a trial's files could not be written; make room, and the same command carries on", urgent=True
        )
        return FAILURE
    own = [trial for trial in search.in_order() if trial.origin is None]
    all_failed = bool(own) and all(trial.status == FAILED for trial in own)
    if all_failed or ending == "failures":
        causes = Counter((trial.failure_kind, trial.failure_line) for trial in own if trial.failure_kind)
        for (kind, line), count in causes.items():
            view.say(f"{counted(count, 'trial')} failed ({kind}): {line}", urgent=True)
        return TOO_MANY_FAILURES
    view.say(f"report: {plan.files.report}")
    if ending == "done":
        done = full is not None and any(run.status == COMPLETED for run in full.in_order())
        steps = next_steps(plan, search, full or StudyState())
        for why, command in steps[:1] if not done else []:
            view.say(f"next: {command}   # {why}")
        if done:
            how = ", from scratch" if plan.from_checkpoint else ""
            view.say(f"train it anywhere{how}: python -m trainer --config {plan.files.best}")
    failed_runs = full is not None and full.trials and all(t.status == FAILED for t in full.in_order())
    return FAILURE if failed_runs else DONE


@contextmanager
def _signals() -> Iterator[Stop]:
    """SIGTERM and Ctrl-C ask the driver to stop; what it does about it is in `Driver`."""
    stop = Stop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop(number)
        if number == signal.SIGINT and stop.times > 2:
            raise KeyboardInterrupt  # a third one does not even wait for a database that does not answer

    before: dict[int, Any] = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
