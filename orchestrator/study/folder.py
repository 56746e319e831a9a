"""The folder of a study: every path in it, and the one way in which the driver writes a file there.

What a trial's own process writes (metrics, checkpoints, samples) has its paths here too, but is written by the trainer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.study.trial import TrialState
from trainer.api import METRICS, SAMPLES

_TRIALS, _FULL = "trials", "full"


@dataclass(frozen=True)
class RunFolder:
    """The files of one trial, or of one promoted run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def overrides(self) -> Path:
        return self.path / "overrides.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def metrics(self) -> Path:
        return self.path / METRICS

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """What the run kept for people to look at."""
        return self.path / SAMPLES / "last.json"

    def checkpoint_files(self) -> list[Path]:
        return sorted(self.checkpoints.glob("*.pth"))


@dataclass(frozen=True)
class StudyFolder:
    """The files of one study."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def plan(self) -> Path:
        return self.path / "plan.yaml"

    @property
    def database(self) -> Path:
        """The Optuna storage, where the user named no other."""
        return self.path / "study.db"

    @property
    def lock(self) -> Path:
        return self.path / "driver.lock"

    @property
    def driver_log(self) -> Path:
        return self.path / "driver.log"

    @property
    def slots_log(self) -> Path:
        return self.path / "slots.log"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def best(self) -> Path:
        """The configuration that `python -m trainer --config best.yaml` trains."""
        return self.path / "best.yaml"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def artifacts(self) -> Path:
        """Pictures for the Optuna dashboard."""
        return self.path / "artifacts"

    def table(self, name: str, stamp: str = "") -> Path:
        """`trials.csv`, or `trials_20261201-120000.csv`."""
        return self.path / f"{name}{'_' if stamp else ''}{stamp}.csv"

    def run(self, trial: TrialState) -> RunFolder:
        return RunFolder(self.path / run_name(trial))

    def trials(self) -> list[RunFolder]:
        """The folders of the search's trials that are there, in their order."""
        return [RunFolder(path) for path in sorted((self.path / _TRIALS).glob("*")) if path.is_dir()]

    def relative(self, path: str) -> str:
        """A path as seen from the study's folder, so that the folder may be moved; one outside it as it is."""
        return str(Path(path).relative_to(self.path)) if path and Path(path).is_relative_to(self.path) else path

    def write(self, path: Path, text: str) -> None:
        """Replaces a file of the study: a reader finds the old content or the new one, also after a power cut.

        UTF-8; what has no encoding (a file name that is not Unicode) becomes `\\udc80`. `OSError` names `path`.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                file.write(text.encode("utf-8", errors="backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            error.filename = str(path)  # what the reader knows; nobody asked for the temporary file
            raise
        finally:
            temporary.unlink(missing_ok=True)  # of a write that failed


def run_name(trial: TrialState) -> str:
    """Where a run has its files, as seen from the study's folder: `trials/0007`; if promoted, `full/0007-seed0`, or
    `full/0007-seed0-continued` where it started from a checkpoint: the same trial and seed may train both ways."""
    if trial.source_trial:
        return f"{_FULL}/{trial.source_trial:04d}-seed{trial.seed_index}{'-continued' if trial.weights else ''}"
    return f"{_TRIALS}/{trial.trial_id:04d}"
