"""A disk that is full: a clear error, older files whole, and the study carries on once there is room.

Room is taken away with the limit on a file's size, which any user may set on a process of their own.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from fault_parts import SMALL, TRIALS, NewBox, StudyBox

from trainer.checkpoints.files import load_checkpoint


def no_room(process: psutil.Process, largest: int) -> None:
    """From now on the process can make no file larger than this."""
    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (largest, hard))


@pytest.mark.slow
def test_no_room_for_a_checkpoint(box: NewBox, oracle: StudyBox) -> None:
    one = box()
    one.pause_at("trainer.run.loop:optimizer_step:9")  # in the second epoch of trial 1
    driver = one.start()
    no_room(psutil.Process(one.paused()), 1_000_000)
    one.go()
    one.ended(driver, 1)
    said = one.output()
    assert "Traceback" not in said
    folder = one.trial(1) / "checkpoints"
    assert f"{folder / 'last.pth'}: could not be written" in said + (one.trial(1) / "log.txt").read_text("utf-8")
    assert "MB are free in" in said
    assert "MB were needed" in said
    assert "the same command continues the study" in said
    assert load_checkpoint(folder / "last.pth")["progress"]["epoch"] == 1, "the older one is whole"
    assert not list(folder.glob(".*")), "what was half written takes no room"
    assert [row["status"] for row in one.rows()] == ["paused"]
    one.run()
    one.same_as(oracle)
    assert one.trained_again() == 0


@pytest.mark.slow
@pytest.mark.parametrize("largest", [0, 70_000])
def test_no_room_for_the_database_and_the_tables(box: NewBox, oracle: StudyBox, largest: int) -> None:
    one = box()
    one.pause_at("trainer.run.loop:evaluate:2")
    driver = one.start()
    one.paused()
    table = (one.study / "trials.csv").read_text(encoding="utf-8")
    no_room(psutil.Process(driver.pid), largest)
    one.go()
    driver.wait(240)
    assert driver.returncode in (0, 1), one.output()
    assert "Traceback" not in one.output(), one.output()
    one.no_orphans()
    with closing(sqlite3.connect(one.study / "study.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert (one.study / "trials.csv").read_text(encoding="utf-8").startswith(table.splitlines()[0])
    one.run()
    one.same_as(oracle)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for some checkpoints and no more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=150m", "none", str(folder)]
    if os.getuid() != 0 or not shutil.which("mount") or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, name: str = "ballast") -> Path:
    """Takes all room there is; returns the file that took it."""
    ballast = disk / name
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    return ballast


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_middle(box: NewBox, oracle: StudyBox, small_disk: Path) -> None:
    one = box(SMALL, "--output-dir", str(small_disk / "outputs"))
    driver = one.start()
    one.said("trial 1 epoch 2/3")
    ballast = fill(small_disk)
    one.ended(driver, 1)
    said = one.output()
    assert "Traceback" not in said
    assert str(small_disk) in said
    assert "the same command continues" in said
    rest = fill(small_disk, "rest")
    again = one.run(status=2)
    assert "Traceback" not in again
    assert f"{one.study}: cannot be written (No space left on device)" in again.replace(
        str(small_disk), str(one.folder)
    )
    ballast.unlink()
    rest.unlink()
    one.run()
    shutil.copytree(small_disk / "outputs", one.folder / "outputs")
    one.same_as(oracle)


@pytest.mark.slow
def test_no_room_at_the_start(box: NewBox, small_disk: Path) -> None:
    fill(small_disk)
    one = box({**SMALL, "trials": TRIALS[:1]}, "--output-dir", str(small_disk / "outputs"))
    said = one.run(status=2)
    assert "cannot be written" in said
    assert str(small_disk) in said
    assert "Traceback" not in said


def test_a_folder_that_cannot_be_written_is_refused_at_once(box: NewBox) -> None:
    one = box({**SMALL, "trials": TRIALS[:1]})
    (one.folder / "outputs").write_text("a file where the folder should be", encoding="utf-8")
    said = one.run(status=2)
    assert f"{one.folder / 'outputs'}" in said
    assert "cannot be written" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_no_room_for_a_promoted_run(box: NewBox, oracle: StudyBox) -> None:
    one = box(SMALL, "--promote", "1")
    one.pause_at(oracle.full_evaluation(2))
    driver = one.start()
    no_room(psutil.Process(one.paused()), 1_000_000)
    one.go()
    one.ended(driver, 1)
    assert "MB were needed" in one.output()
    one.run()
    one.same_as(oracle, promoted=True)
