"""The study folder: its paths, and the one way in which the driver writes a file there."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from orchestrator.study.folder import StudyFolder, run_name
from orchestrator.study.trial import TrialState


@pytest.fixture
def files(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path)


def test_a_write_is_whole_or_not_at_all(files: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(files.best, "before")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write(files.best, "after")
    assert caught.value.filename == str(files.best)
    assert files.best.read_text() == "before"
    assert list(files.path.iterdir()) == [files.best]


def test_other_users_may_read_what_was_written(files: StudyFolder) -> None:
    (files.path / "usual").touch()
    files.write(files.report, "a report")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (files.path / "usual", files.report)]
    assert modes[0] == modes[1]


def test_line_ends_stay_and_what_is_not_unicode_is_escaped(files: StudyFolder) -> None:
    files.write(files.best, "a\r\nb\nc caf\udce9")
    assert files.best.read_bytes() == b"a\r\nb\nc caf\\udce9"


def test_a_run_has_its_own_folder() -> None:
    trial = TrialState(6, 6, {})
    assert run_name(trial) == "trials/0007"
    promoted = TrialState(0, 0, {}, source_trial=7, seed_index=1)
    assert run_name(promoted) == "full/0007-seed1"
    promoted.weights = "trials/0007/checkpoints/last.pth"
    assert run_name(promoted) == "full/0007-seed1-continued"


def test_paths_inside_the_folder_are_kept_relative(files: StudyFolder) -> None:
    assert files.relative(str(files.path / "trials" / "0001" / "checkpoints" / "last.pth")) == (
        "trials/0001/checkpoints/last.pth"
    )
    assert files.relative("/elsewhere/last.pth") == "/elsewhere/last.pth"
    assert files.relative("") == ""
