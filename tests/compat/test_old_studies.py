"""Studies from before: they are read, carried on, promoted, closed and retried as the code of their time did it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from compat_parts import (
    GOLDEN,
    MATCHED,
    ROUNDED,
    STUDIES,
    assert_equal_but_for_times,
    close,
    orchestrator,
    python,
    rows,
    workplace,
)
from scenario_parts import READ, RUN, SCENARIOS, Stage, compare


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workplace(tmp_path_factory.mktemp("old"), "ladder", "small", "boxes")


def test_status_says_where_an_old_study_stands(old: Path) -> None:
    said = orchestrator(old, "status", "outputs/ladder")
    assert "9 of 14 trials: 3 completed, 3 paused, 1 running, 1 failed, 1 pruned" in said
    for row in rows(old / "outputs/ladder/trials.csv"):
        assert f"{float(row['final_gain']):.4g}" in said


def test_report_writes_the_tables_of_an_old_study_again(old: Path) -> None:
    study = old / "outputs" / "small"
    before = {table: shutil.copy(study / table, old / table) for table in ("trials.csv", "metrics.csv")}
    orchestrator(old, "report", "outputs/small")
    for table, copy in before.items():
        assert_equal_but_for_times(copy, study / table, worded={"reason"})
    assert (study / "report.html").stat().st_size > 100_000


@pytest.mark.slow
def test_an_old_study_is_loaded_with_the_same_numbers(old: Path) -> None:
    done = python(old, "-c", READ, "outputs/ladder")
    assert done.returncode == 0, done.stderr
    for name in ("trials", "evaluations", "decisions"):
        expected, actual = GOLDEN / "read" / f"{name}-frame.csv", old / f"{name}.csv"
        assert_equal_but_for_times(expected, actual, worded={"reason", "line"})


def test_an_old_checkpoint_is_evaluated_with_the_same_result(old: Path) -> None:
    done = python(
        old, "-m", "trainer", "evaluate", "--checkpoint", "outputs/small/full/0002-seed0/checkpoints/best.pth"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (row,) = [r for r in rows(old / "outputs/small/metrics.csv") if r["run"] == "full/0002-seed0" and r["epoch"] == "8"]
    for name in ("gain", "val_loss"):
        assert close(float(row[name]), found[name]), name


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(lambda name: tmp_path_factory.mktemp(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_done_with_an_old_study_ends_as_it_did(name: str, stage: Stage) -> None:
    compare(stage.study(name), name, relative=MATCHED if name.startswith("boxes") else ROUNDED)


@pytest.mark.slow
def test_trials_from_before_are_unchanged(stage: Stage) -> None:
    before = {row["trial_id"]: row for row in rows(GOLDEN / "read" / "trials.csv")}
    after = {row["trial_id"]: row for row in rows(stage.study("ladder-carried-on") / "trials.csv")}
    over = [number for number, row in before.items() if row["status"] in ("completed", "pruned", "failed")]
    assert over == ["1", "4", "5", "6", "7"]
    assert [after[number] for number in over] == [before[number] for number in over], "in every column"


@pytest.mark.slow
def test_a_study_begun_today_is_the_one_that_was_begun_then(tmp_path: Path) -> None:
    """A kill changes no result, and neither does the code of another day."""
    workplace(tmp_path)
    orchestrator(tmp_path, "run", "ladder.yaml", *RUN)
    recorded = GOLDEN / "ladder-carried-on"
    for table in ("trials.csv", "metrics.csv", "agreement.csv"):
        assert_equal_but_for_times(recorded / table, tmp_path / "outputs/ladder" / table, worded={"reason"})


def test_every_old_study_is_small() -> None:
    assert sum(path.stat().st_size for path in STUDIES.iterdir()) < 400_000
