"""What the commands do. Each returns an exit status; mistakes are raised as `TrainingError`s."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from orchestrator.engine.checkpoint_quota import CheckpointKeeper
from orchestrator.engine.driver import Driver, Ending, Stop
from orchestrator.output.dashboard_notes import Exhibits, exhibit
from orchestrator.engine.failures import FailurePolicy
from orchestrator.storage.opening import open_full, open_search, read_aside, read_full, read_plan, read_state
from orchestrator.storage.lock import StudyLock, is_held
from orchestrator.planning.continuation import merge
from orchestrator.planning.arguments import Request
from orchestrator.output.study_files import PLAN, StudyFiles, prepare_folder, write_all, write_environment, write_plan
from orchestrator.study.plan import Plan
from orchestrator.engine.promotion import chosen, crown, failed_before, set_aside
from orchestrator.results.record import next_steps
from orchestrator.planning.request import make_plan
from orchestrator.engine.reopen import reopen_all
from orchestrator.slots import opener
from orchestrator.slots.slot import Slots
from orchestrator.engine.stage import FullStage, SearchStage, Stage
from orchestrator.study.state import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING, StudyState
from orchestrator.results.timings import known_timings, remember
from orchestrator.planning.library_checks import try_out_all
from orchestrator.output.views import View, summary_line
from orchestrator.engine.watcher import Watcher, Watchers
from trainer.api import ConfigError, Problem, RunConfig, check_data, prepare_data

DONE, FAILURE, USAGE, TOO_MANY_FAILURES = 0, 1, 2, 3


def run(request: Request, view: View, force: bool = False) -> int:
    """`run`: plan, search, report, promote; on a study that exists, carry on."""
    plan, _ = make_plan(request)
    try_out_all(plan, request.trials)
    prepare_folder(plan)
    with StudyLock(plan.folder):
        if (plan.folder / PLAN).exists():
            plan = merge(read_plan(plan.folder), plan, force)
        for note in plan.notes:
            view.say(note, urgent=note.startswith("warning:"))
        return _work(plan, view, plan.promote, plan.promote_seeds, search=True)


def promote(folder: Path, top: int, seeds: int, view: View, from_checkpoint: bool = False) -> int:
    """`promote`: full training of the best, later, on the data that the search was made on."""
    plan = replace(read_plan(folder), from_checkpoint=from_checkpoint)
    now = check_data(plan.base_config).fingerprint
    if now != plan.data_fingerprint:
        what = f"the data changed since the search ({plan.data_fingerprint} then, {now} now)"
        advice = "bring it back, or accept it with the search's own command and --force"
        raise ConfigError([Problem(f"study {plan.name}", f"{what}; {advice}")])
    with StudyLock(folder):
        # Before the plan is written: a start that is refused must not become the study's.
        if not chosen(plan, read_state(folder)[1], top, seeds, read_full(plan)):
            raise ConfigError([Problem(str(plan.folder), "no trial has completed; there is none to promote")])
        return _work(plan, view, top, seeds, search=False)


def retry(folder: Path, view: View) -> int:
    """`retry --failed`: failed trials and promoted runs once more, from their checkpoints."""
    plan = read_plan(folder)
    with StudyLock(folder):
        view.say(reopen_all(plan))
        # Also what a retry left that was stopped: the same command carries on.
        again = bool(read_full(plan).with_status(RUNNING, PAUSED))
        return _work(plan, view, plan.promote, plan.promote_seeds, search=True, again=again)


def close(folder: Path, view: View) -> int:
    """`close`: no more trials; what is paused becomes pruned."""
    plan = replace(read_plan(folder), closed=True)
    with StudyLock(folder):
        study = open_search(plan)
        state = study.load(unfinished=True)
        for trial in state.with_status(PAUSED, RUNNING):
            trial.status = PRUNED
            state.decide(trial, f"trial {trial.trial_id} pruned after epoch {trial.epochs}: the study was closed")
            study.decided(trial)
            view.say(trial.reason)
        write_plan(plan)
        StudyFiles(plan, state, read_full(plan)).finish()
        study.close()
    view.say(f"closed: {summary_line(plan, state)}")
    return DONE


def report(folder: Path) -> Path:
    """`report`: CSV and HTML rebuilt from the study alone."""
    write_all(*read_state(folder), in_progress=is_held(folder))
    return folder / "report.html"


def _work(plan: Plan, view: View, top: int, seeds: int, search: bool, again: bool = False) -> int:
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
