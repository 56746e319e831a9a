"""Fixtures of the report tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import report_records

from reports.record import StudyRecord

KINDS = (
    "captioning",
    "ladder",
    "detection",
    "classification",
    "diffusion",
    "empty",
    "all_failed",
    "one_trial",
    "running",
    "losses",
    "hostile",
    "many",
)


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StudyRecord]:
    """Every made-up record by name."""
    folder = tmp_path_factory.mktemp("images")
    with_folder: dict[str, Callable[[Path], StudyRecord]] = {
        "captioning": report_records.captioning,
        "detection": report_records.detection,
        "classification": report_records.classification,
        "diffusion": report_records.diffusion,
        "ladder": report_records.ladder,
        "hostile": report_records.hostile,
    }
    return {
        kind: with_folder[kind](folder) if kind in with_folder else getattr(report_records, kind)() for kind in KINDS
    }


@pytest.fixture(params=KINDS)
def record(request: pytest.FixtureRequest, records: dict[str, StudyRecord]) -> StudyRecord:
    """Each made-up record in turn."""
    return records[request.param]


@pytest.fixture(scope="session")
def captioning(records: dict[str, StudyRecord]) -> StudyRecord:
    """The finished captioning study."""
    return records["captioning"]


@pytest.fixture(scope="session")
def ladder(records: dict[str, StudyRecord]) -> StudyRecord:
    """The same on a ladder: the one that has all sections."""
    return records["ladder"]
