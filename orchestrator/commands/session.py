"""What the commands that train share: slots, signals, the stages one after the other, the exit status."""

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
from orchestrator.engine.promotion import chosen, crown, failed_before, set_aside
from orchestrator.engine.stage import FullStage, SearchStage, Stage
from orchestrator.engine.watcher import Watcher, Watchers
from orchestrator.output.dashboard_notes import Exhibits, exhibit
from orchestrator.output.study_files import StudyFiles, write_environment, write_plan
from orchestrator.output.views import View, summary_line
from orchestrator.results.record import next_steps
from orchestrator.results.timings import known_timings, remember
from orchestrator.slots import opener
from orchestrator.slots.slot import Slots
from orchestrator.storage.opening import open_full, open_search, read_aside, read_full
from orchestrator.study.plan import Plan
from orchestrator.study.state import COMPLETED, FAILED, PAUSED, RUNNING, StudyState
from trainer.api import RunConfig, prepare_data

DONE, FAILURE, USAGE, TOO_MANY_FAILURES = 0, 1, 2, 3


def work(plan: Plan, view: View, top: int, seeds: int, search: bool, again: bool = False) -> int:
    """Searches (where asked) and promotes, over one set of slots; `again`: there are promoted runs to go on with."""
    # Before the plan is written: one with a wrong URL, or with data that cannot be used, must not bind the next call.
    study = open_search(plan)
    build_data(plan.search_config({}, plan.rungs[0]) if search else plan.base_config, view.console)
    write_plan(plan)
    write_environment(plan)
    stage = SearchStage(plan, study)
    files = StudyFiles(plan, stage.state, read_full(plan))
    with view, _signals() as stop:
        watcher = Watchers(files, view, Exhibits(plan))
        office = _Office(plan, watcher, stop)
        try:
            ending: Ending = "done"
            if search:
                ending = office.drive(stage)
                watcher.line(summary_line(plan, stage.state))
                remember(plan, known_timings(plan))
            if ending == "done" and (top > 0 or again):
                runs = chosen(plan, stage.state, top, seeds, files.full)
                if len(runs) < top * seeds:
                    watcher.line(f"{len(runs) // seeds} of {top} trials can be promoted: no more completed")
                aside = read_aside(plan)
                full = FullStage(plan, open_full(plan), runs)
                files.full = full.state
                for line in (*set_aside(plan, aside), *failed_before(plan, full.state, runs)):
                    watcher.line(line)
                ending = office.drive(full, before=stage.state.slot_seconds() + aside.slot_seconds())
                if ending == "done":
                    watcher.line(crown(plan, stage.state, full.state))
        finally:
            office.close()
            files.finish()
    if ending != "stopped":  # who said stop does not wait for the import of the dashboard
        exhibit(plan, stage.state, files.full)
    return _conclude(plan, stage.state, files.full, ending, stop, view)


class _Office:
    """The slots of one call, opened when the first stage has work for them."""

    def __init__(self, plan: Plan, watcher: Watcher, stop: Stop) -> None:
        self.plan, self.watcher, self.stop = plan, watcher, stop
        self._slots: Slots | None = None
        self._seconds: float | None = None

    def drive(self, stage: Stage, before: float = 0.0) -> Ending:
        """Runs a stage; `before` is what slots spent on the stage before it."""
        state = stage.state
        open_work = stage.policy.next(state, ()) is not None or state.with_status(RUNNING, PAUSED)
        if not open_work:
            return "failures" if FailurePolicy(self.plan.limits.max_failures).too_many(state) else "done"
        if self._slots is None:
            places = self.plan.places
            opened: Slots = opener("local")(
                places.workers, places.threads_per_slot, self.plan.folder, self.plan.limits.stall_seconds
            )
            self._slots = opened
        elapsed = state.seconds_before if self._seconds is None else self._seconds
        driver = Driver(
            stage, self._slots, self.plan.limits, self.watcher, self.stop,
            keeper=CheckpointKeeper(self.plan) if stage.noun == "trial" else None,
            seconds_before=elapsed, slot_seconds_elsewhere=before,
        )  # fmt: skip
        ending = driver.run()
        self._seconds = driver.seconds()
        return ending

    def close(self) -> None:
        if self._slots is not None:
            self._slots.close()


def build_data(config: RunConfig, console: Console) -> None:
    """What the data still lacks is built once, before any slot wants it."""
    columns = (TextColumn("preparing the data, once"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("data", total=None, visible=False)
        prepare_data(config, lambda done, of: bar.update(line, completed=done, total=of, visible=True))


def _conclude(plan: Plan, search: StudyState, full: StudyState | None, ending: Ending, stop: Stop, view: View) -> int:
    """The last words, and the exit status."""

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
        for (kind, line), count in Counter((t.failure_kind, t.failure_line) for t in own if t.failure_kind).items():
            view.say(f"{count} trial{'' if count == 1 else 's'} failed ({kind}): {line}", urgent=True)
        return TOO_MANY_FAILURES
    view.say(f"report: {plan.folder / 'report.html'}")
    if ending == "done":
        done = full is not None and any(run.status == COMPLETED for run in full.in_order())
        steps = next_steps(plan, search, full or StudyState())
        for why, command in steps[:1] if not done else []:
            view.say(f"next: {command}   # {why}")
        if done:
            how = ", from scratch" if plan.from_checkpoint else ""
            view.say(f"train it anywhere{how}: python -m trainer --config {plan.folder / 'best.yaml'}")
    failed_runs = full is not None and full.trials and all(t.status == FAILED for t in full.in_order())
    return FAILURE if failed_runs else DONE


@contextmanager
def _signals() -> Iterator[Stop]:
    """SIGTERM and Ctrl-C ask the driver to stop; what it does about it stands in `Driver`."""
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
