"""A study for a notebook: `from orchestrator import load_study`. Data frames, and the report's figures."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from orchestrator.results.record import build_record
from orchestrator.storage.lock import is_held
from orchestrator.storage.opening import read_study
from reports.build import FIGURES, figure
from reports.record import StudyRecord
from reports.tables import decisions_frame, metrics_frame, trials_frame


class LoadedStudy:
    """A study as it stood when it was loaded. It may be running; loading it holds nothing up."""

    def __init__(self, record: StudyRecord) -> None:
        self.record = record

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a trial, the columns of `trials.csv`."""
        return trials_frame(self.record)

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """One row an evaluation, the columns of `metrics.csv`."""
        return metrics_frame(self.record)

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """One row a decision with its reason, in the order of the log."""
        return decisions_frame(self.record)

    @property
    def figures(self) -> list[str]:
        """The names that `figure` knows."""
        return list(FIGURES)

    def figure(self, name: str) -> go.Figure:
        """One of the report's figures; one that has nothing to draw says so."""
        return figure(name, self.record)

    def __repr__(self) -> str:
        record = self.record
        return f"<study {record.name}: {len(record.trials)} trials, {len(record.evaluations)} evaluations>"


def load_study(folder: str | Path) -> LoadedStudy:
    """The study in a folder such as `outputs/quickstart`; `ConfigError` where there is none."""
    study = read_study(Path(folder))
    in_progress = is_held(study.plan.files)
    return LoadedStudy(build_record(study.plan, study.search, study.full, in_progress))
