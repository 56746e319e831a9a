"""The files in a study's folder that are for people: tables, report and log, kept up to date while it runs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from orchestrator.engine.stage import Stage
from orchestrator.engine.watcher import Watcher
from orchestrator.output.best import BestSoFar
from orchestrator.output.pace import Pace
from orchestrator.results.record import build_record, table_record
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState
from reports.build import build_report
from reports.record import StudyRecord
from reports.tables import agreement_csv, metrics_csv, trials_csv
from trainer.api import TrainingError, dump_yaml

log = logging.getLogger(__name__)


class StudyFiles(Watcher):
    """A watcher that keeps the folder's files up to date. A file that cannot be written is reported and tried again;
    it does not end the study, which is in the database."""

    def __init__(self, plan: Plan, search: StudyState, full: StudyState | None = None) -> None:
        self.plan, self.search, self.full = plan, search, full
        # The table takes at most a fiftieth of the study's time, the report a hundredth.
        self._csv_pace = Pace(first=0.0, least=0.0, share=50.0)
        self._report_pace = Pace(first=5.0, least=20.0, share=100.0)
        self._stale_csv = self._stale_report = True
        self._best = BestSoFar(plan)

    def line(self, text: str) -> None:
        """Appends one line to the driver's log."""
        path = self.plan.files.driver_log
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        except OSError as error:
            log.warning("%s: %s", path, error.strerror)

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        self._stale_csv = self._stale_report = True
        if stage.kind == "search":
            self._guarded(lambda: self._best.changed(trial, self.search, self.full))
        self._refresh()

    def tick(self, stage: Stage) -> None:
        self._refresh()

    def finish(self) -> None:
        """Writes all tables and the report, and a copy of the table with the time of this run in its name."""
        self._stale_csv = self._stale_report = True
        self._refresh(now=True)
        self._guarded(lambda: self._write_table(time.strftime("%Y%m%d-%H%M%S")))

    def _write_table(self, stamp: str = "") -> None:
        _write_trials(table_record(self.plan, self.search, self.full), self.plan, stamp)

    def _refresh(self, now: bool = False) -> None:
        if self._stale_csv and (now or self._csv_pace.is_due):
            self._stale_csv = False
            with self._csv_pace.doing():
                self._guarded(self._write_table)
        if self._stale_report and (now or self._report_pace.is_due):
            self._stale_report = False
            with self._report_pace.doing():
                record = build_record(self.plan, self.search, self.full, in_progress=not now)
                self._guarded(lambda: _write_report(record, self.plan))
                if now:
                    self._guarded(lambda: _write_tables(record, self.plan))

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            path = error.filename or self.plan.folder
            log.warning("%s: cannot be written (%s); it is tried again", path, error.strerror)
            self._stale_csv = self._stale_report = True


def write_all(plan: Plan, search: StudyState, full: StudyState | None, in_progress: bool) -> None:
    """Writes all tables and the report; `OSError` where a file cannot be written."""
    record = build_record(plan, search, full, in_progress)
    _write_trials(record, plan)
    _write_tables(record, plan)
    _write_report(record, plan)


def _write_trials(record: StudyRecord, plan: Plan, stamp: str = "") -> None:
    plan.files.write(plan.files.table("trials", stamp), trials_csv(record))


def _write_tables(record: StudyRecord, plan: Plan) -> None:
    plan.files.write(plan.files.table("metrics"), metrics_csv(record))
    plan.files.write(plan.files.table("agreement"), agreement_csv(record))


def _write_report(record: StudyRecord, plan: Plan) -> None:
    plan.files.write(plan.files.report, build_report(record))


def prepare_folder(plan: Plan) -> None:
    """Creates the study's folder; `OutputError` where nothing can be written in it."""
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        probe = plan.folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"x" * 65536)
        probe.unlink()
    except OSError as error:
        place = error.filename or plan.folder
        raise OutputError(f"{place}: cannot be written ({error.strerror}); choose another with --output-dir") from None


def write_plan(plan: Plan) -> None:
    plan.files.write(plan.files.plan, dump_yaml(plan.plain()))


class OutputError(TrainingError):
    """The study's folder cannot be written."""

    kind = "config"
