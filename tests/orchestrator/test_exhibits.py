"""What the Optuna dashboard finds beside the trials of a real study."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import optuna
import pytest
from optuna_dashboard import get_note, save_note
from optuna_dashboard.artifact._backend import list_trial_artifacts
from PIL import Image

from orchestrator.engine.ledger import Ledger
from orchestrator.engine.search_stage import SearchStage
from orchestrator.engine.watcher import Watchers
from orchestrator.output.dashboard_notes import SIGNATURE, annotate
from orchestrator.storage.database import open_storage
from orchestrator.storage.opening import open_search, opened, read_full, read_plan

ARTIFACTS = "artifacts"


def study_of(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="tiny", storage=open_storage(f"sqlite:///{folder / 'study.db'}"))


def exhibit(folder: Path) -> None:
    """What a run does at its end."""
    plan = read_plan(folder)
    with opened(plan) as store:
        study = open_search(store, plan)
        annotate(plan, Ledger(SearchStage(plan, study.load()), study, Watchers()), read_full(store, plan))


@pytest.mark.slow
def test_a_run_leaves_samples_and_a_note(finished: Path) -> None:
    study = study_of(finished)
    attrs = study._storage.get_study_system_attrs(study._study_id)
    found = {t.number: list_trial_artifacts(attrs, {}, t) for t in study.trials if list_trial_artifacts(attrs, {}, t)}
    assert set(found) >= {0, 1}
    assert all(len(artifacts) == 1 for artifacts in found.values())
    with Image.open(finished / ARTIFACTS / found[0][0]["artifact_id"]) as sheet:
        assert (sheet.format, sheet.width) == ("PNG", 480)
    text = get_note(study)
    assert "leads with **BLEU " in text
    assert " in full, seed 0: BLEU " in text
    assert text.endswith(SIGNATURE)


def test_the_same_again_writes_nothing(finished_copy: Path) -> None:
    exhibit(finished_copy)  # once with the paths of this copy
    study = study_of(finished_copy)
    before = study._storage.get_study_system_attrs(study._study_id)
    times = {path: path.stat().st_mtime_ns for path in (finished_copy / ARTIFACTS).iterdir()}
    exhibit(finished_copy)
    assert study._storage.get_study_system_attrs(study._study_id) == before
    assert {path: path.stat().st_mtime_ns for path in (finished_copy / ARTIFACTS).iterdir()} == times


def test_a_persons_note_stays(finished_copy: Path) -> None:
    save_note(study_of(finished_copy), "what I think of it")
    exhibit(finished_copy)
    assert get_note(study_of(finished_copy)) == "what I think of it"


@pytest.mark.parametrize(
    "image", ["missing.jpg", "broken.png"], ids=["an image that is gone", "a file that is no image"]
)
def test_what_cannot_be_shown_is_left_out(finished_copy: Path, image: str) -> None:
    (finished_copy / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    path = finished_copy / "trials" / "0001" / "samples" / "last.json"
    sample = {"image": str(finished_copy / image), "references": [], "predictions": ["x" * 10_000]}
    path.write_text(json.dumps({"epoch": 1, "samples": [sample]}))
    exhibit(finished_copy)


def test_a_folder_that_takes_no_files_costs_nothing(finished_copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in (finished_copy / ARTIFACTS).iterdir():
        path.unlink()
    (finished_copy / ARTIFACTS).rmdir()
    (finished_copy / ARTIFACTS).write_text("a file in the way")
    with caplog.at_level(logging.WARNING):
        exhibit(finished_copy)
    assert "could not be written" in caplog.text
