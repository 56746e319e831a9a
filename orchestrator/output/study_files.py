"""What a study keeps in its folder for people: CSV, report, `best.yaml`, the log. Written as the study goes."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path

from orchestrator.engine.stage import Stage
from orchestrator.output.pace import Pace
from orchestrator.results.record import ENVIRONMENT, build_record, table_record
from orchestrator.slots.slot import Beat, Slot
from orchestrator.study.plan import Plan
from orchestrator.study.state import COMPLETED, StudyState, TrialState
from reports.build import write_report
from reports.tables import write_agreement_csv, write_metrics_csv, write_trials_csv
from trainer.api import TrainingError, dump_yaml, write_whole

log = logging.getLogger(__name__)

CSV, METRICS_CSV, AGREEMENT_CSV = "trials.csv", "metrics.csv", "agreement.csv"
REPORT, BEST = "report.html", "best.yaml"
PLAN, DRIVER_LOG = "plan.yaml", "driver.log"


class StudyFiles:
    """A watcher that keeps the folder's files current. A file that cannot be written is said, and tried again:
    the study itself stands in its database."""

    def __init__(self, plan: Plan, search: StudyState, full: StudyState | None = None) -> None:
        self.plan, self.search, self.full = plan, search, full
        # The table takes at most a fiftieth of the study's time, the report a hundredth.
        self._csv_pace = Pace(first=0.0, least=0.0, share=50.0)
        self._report_pace = Pace(first=5.0, least=20.0, share=100.0)
        self._stale_csv = self._stale_report = True
        self._reached: dict[int, int] = {}
        self._best: tuple[TrialState, int] | None = None  # whose configuration stands in best.yaml, and its rung

    def line(self, text: str) -> None:
        """Appends one line to the driver's log."""
        try:
            with (self.plan.folder / DRIVER_LOG).open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        except OSError as error:
            log.warning("%s: %s", self.plan.folder / DRIVER_LOG, error.strerror)

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        self._stale_csv = self._stale_report = True
        if stage.noun == "trial" and trial.reached > self._reached.get(trial.number, 0):
            self._reached[trial.number] = trial.reached
            if self._may_lead(trial):
                self._guarded(self._write_best)
        self._refresh()

    def beat(self, stage: Stage, slot: Slot, beat: Beat) -> None:
        """Steps are for the terminal."""

    def tick(self, stage: Stage) -> None:
        self._refresh()

    def refresh_all(self) -> None:
        """Writes both CSV files and the report now."""
        self._stale_csv = self._stale_report = True
        self._refresh(now=True)

    def finish(self) -> None:
        """Writes everything once more, and the CSV under the time of this run."""
        self.refresh_all()
        stamp = time.strftime("%Y%m%d-%H%M%S")
        record = table_record(self.plan, self.search, self.full)
        self._guarded(lambda: write_trials_csv(record, self.plan.folder / f"trials_{stamp}.csv"))

    def _refresh(self, now: bool = False) -> None:
        if self._stale_csv and (now or self._csv_pace.is_due):
            self._stale_csv = False
            with self._csv_pace.doing():
                record = table_record(self.plan, self.search, self.full)
                self._guarded(lambda: write_trials_csv(record, self.plan.folder / CSV))
        if self._stale_report and (now or self._report_pace.is_due):
            self._stale_report = False
            with self._report_pace.doing():
                full = build_record(self.plan, self.search, self.full, in_progress=not now)
                self._guarded(lambda: write_report(full, self.plan.folder / REPORT))
                if now:
                    self._guarded(lambda: write_metrics_csv(full, self.plan.folder / METRICS_CSV))
                    self._guarded(lambda: write_agreement_csv(full, self.plan.folder / AGREEMENT_CSV))

    def _may_lead(self, trial: TrialState) -> bool:
        """Cheap, because asked of every result: most are behind the leader."""
        if self._best is None or not self._best[0].is_ranked:
            return True
        maximize = self.plan.metric.direction == "maximize"
        return trial.place(maximize) <= self._best[0].place(maximize)

    def _write_best(self) -> None:
        """Keeps `best.yaml` the leader's, until a promoted run has a better claim to it."""
        ranked = self.search.ranked(self.plan.metric.direction == "maximize")
        if not ranked or (ranked[0], ranked[0].reached) == self._best:
            return
        if self.full and any(t.status == COMPLETED for t in self.full.trials.values()):
            return
        best = ranked[0]
        value = f"{self.plan.metric.label} {best.result:.4g}"
        where = self.plan.rungs[best.reached - 1].words()
        write_best(self.plan, best, f"trial {best.trial_id} of study {self.plan.name}: {value} on the budget ({where})")
        self._best = (best, best.reached)

    def _guarded(self, write: object) -> None:
        assert callable(write), "a function without arguments"
        try:
            write()
        except OSError as error:
            text = f"{error.filename or self.plan.folder}: cannot be written ({error.strerror}); it is tried again"
            log.warning(text)
            self._stale_csv = self._stale_report = True


def write_all(plan: Plan, search: StudyState, full: StudyState | None, in_progress: bool) -> None:
    """Both CSV files and the report, on request: what cannot be written is an `OSError`."""
    record = build_record(plan, search, full, in_progress)
    write_trials_csv(record, plan.folder / CSV)
    write_metrics_csv(record, plan.folder / METRICS_CSV)
    write_agreement_csv(record, plan.folder / AGREEMENT_CSV)
    write_report(record, plan.folder / REPORT)


def write_best(plan: Plan, trial: TrialState, about: str) -> None:
    """The configuration that `python -m trainer --config best.yaml` trains, with its provenance on top."""
    plain = plan.full_config(trial.overrides, 0).plain()
    # Relative where nobody named them: beside whoever trains it, not in the study.
    plain["checkpoint"]["dir"] = plan.base["checkpoint"]["dir"]
    plain["logging"]["tensorboard_dir"] = plan.base["logging"]["tensorboard_dir"]
    plain["data"]["split_seed"] = plan.base_config.data.split_seed
    header = "".join(f"# {line}\n" for line in (*about.splitlines(), "python -m trainer --config best.yaml"))
    write_whole(plan.folder / BEST, header + dump_yaml(plain))


def prepare_folder(plan: Plan) -> None:
    """Makes the study's folder and writes the plan; `TrainingError` where that is not possible."""
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        probe = plan.folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"x" * 65536)
        probe.unlink()
    except OSError as error:
        place = error.filename or plan.folder
        raise OutputError(f"{place}: cannot be written ({error.strerror}); choose another with --output-dir") from None


def write_plan(plan: Plan) -> None:
    write_whole(plan.folder / PLAN, dump_yaml(plan.plain()))


class OutputError(TrainingError):
    """The study's folder cannot be written."""

    kind = "config"


def write_environment(plan: Plan) -> None:
    """Versions, machine, data and commit, for whoever wants to know what a result was made with."""
    packages = ("torch", "torchvision", "optuna", "numpy", "sacrebleu", "rungwise")
    found = {
        "python": sys.version.split()[0],
        **{name: version for name in packages if (version := _version(name))},
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cores": str(os.cpu_count()),
        "data fingerprint": plan.data_fingerprint,
        "git commit": _commit(Path.cwd()),
        "command": " ".join(["python -m orchestrator", *sys.argv[1:]]),
        "written": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    write_whole(plan.folder / ENVIRONMENT, json.dumps(found, indent=2) + "\n")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _commit(folder: Path) -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return done.stdout.strip() or "none"
