"""The folder of a study: every path in it, and the one function with which the driver writes a file there.

The files that a trial's own process writes (metrics, checkpoints, samples) have their paths here, too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.study.trial import TrialState
from trainer.api import METRICS, SAMPLES

_TRIALS, _FULL = "trials", "full"


class _Path:
    """A path inside a folder, read as an attribute of the folder's object."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __get__(self, folder: RunFolder | StudyFolder, owner: type) -> Path:
        return folder.path.joinpath(*self._parts)


@dataclass(frozen=True)
class RunFolder:
    """The files of one trial, or of one promoted run."""

    path: Path

    config = _Path("config.yaml")
    overrides = _Path("overrides.json")
    log = _Path("log.txt")
    metrics = _Path(METRICS)
    checkpoints = _Path("checkpoints")
    samples = _Path(SAMPLES, "last.json")  # predictions for people to look at

    def checkpoint_files(self) -> list[Path]:
        return sorted(self.checkpoints.glob("*.pth"))


@dataclass(frozen=True)
class StudyFolder:
    """The files of one study."""

    path: Path

    plan = _Path("plan.yaml")
    database = _Path("study.db")  # the Optuna storage, where the user named no other
    lock = _Path("driver.lock")
    driver_log = _Path("driver.log")
    slots_log = _Path("slots.log")
    environment = _Path("environment.json")
    best = _Path("best.yaml")  # the configuration that `python -m trainer --config best.yaml` trains
    report = _Path("report.html")
    artifacts = _Path("artifacts")  # pictures for the Optuna dashboard

    def __str__(self) -> str:
        return str(self.path)

    def table(self, name: str, stamp: str = "") -> Path:
        """`trials.csv`, or `trials_20261201-120000.csv`."""
        return self.path / f"{name}{'_' if stamp else ''}{stamp}.csv"

    def run(self, trial: TrialState) -> RunFolder:
        return RunFolder(self.path / run_name(trial))

    def trials(self) -> list[RunFolder]:
        """The existing folders of the search's trials, in the order of their numbers."""
        return [RunFolder(path) for path in sorted((self.path / _TRIALS).glob("*")) if path.is_dir()]

    def relative(self, path: str) -> str:
        """A path relative to the study's folder, which may be moved; a path outside it is returned unchanged."""
        return str(Path(path).relative_to(self.path)) if path and Path(path).is_relative_to(self.path) else path

    def write(self, path: Path, text: str) -> None:
        """Replaces a file of the study atomically: a reader finds the old content or the new, also after a power cut.

        What UTF-8 cannot encode (in a file name that is not Unicode) becomes `\\udc80`. `OSError` names `path`.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                file.write(text.encode("utf-8", errors="backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            error.filename = str(path)  # the user knows this file, not the temporary one
            raise
        finally:
            temporary.unlink(missing_ok=True)  # left over where the write failed


def run_name(trial: TrialState) -> str:
    """The folder of a run, relative to the study's: `trials/0007`; of a promoted run `full/0007-seed0`, or
    `full/0007-seed0-continued` where it started from a checkpoint."""
    if trial.source_trial:
        return f"{_FULL}/{trial.source_trial:04d}-seed{trial.seed_index}{'-continued' if trial.weights else ''}"
    return f"{_TRIALS}/{trial.trial_id:04d}"
