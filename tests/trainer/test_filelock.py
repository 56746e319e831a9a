"""One run to a folder, and no trace of one that was refused."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trainer_parts import TINY
from typer.testing import CliRunner

from trainer.api import ConfigError, dump_yaml
from trainer.cli import commands as cli
from trainer.store import locks
from trainer.store.locks import RUN_LOCK, sole_run

HOLDS = """
import sys
from pathlib import Path
from trainer.store.locks import sole_run
with sole_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds a folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_takes_nothing_away(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with holder(folder) as process:
        with pytest.raises(ConfigError, match=rf"in use by another run \(process {process.pid}\)"), sole_run(folder):
            pass
        assert (folder / RUN_LOCK).is_file()
        process.communicate("")
    assert list(tmp_path.iterdir()) == [], "it made the folders, and left nothing in them"
    with sole_run(folder):
        assert (folder / RUN_LOCK).is_file()


def test_the_lock_goes_with_its_run_and_what_the_run_left_stays(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with sole_run(folder):
        (folder / "last.pth").write_text("whole")
    assert [path.name for path in folder.iterdir()] == ["last.pth"]
    (folder / RUN_LOCK).write_text("4711\n")  # of a process that was killed
    with pytest.raises(SystemExit), sole_run(folder):
        raise SystemExit(143)
    assert [path.name for path in folder.iterdir()] == ["last.pth"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with sole_run(empty):
        pass
    assert empty.is_dir(), "it was there before"


def test_a_lock_that_was_removed_before_it_was_taken_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, taken = tmp_path / "run", locks._taken
    calls: list[int] = []

    def ends_in_between(file: Any) -> bool:
        """The run that had the folder ends between the opening of the file and its locking."""
        calls.append(file.fileno())
        if len(calls) == 1:
            (folder / RUN_LOCK).unlink()
            folder.rmdir()
        return taken(file)

    monkeypatch.setattr(locks, "_taken", ends_in_between)
    with sole_run(folder):
        assert len(calls) == 2
        asks = f"import fcntl; fcntl.lockf(open({str(folder / RUN_LOCK)!r}, 'a'), {fcntl.LOCK_EX | fcntl.LOCK_NB})"
        asked = subprocess.run([sys.executable, "-c", asks], check=False, capture_output=True, text=True)
        assert "BlockingIOError" in asked.stderr
    assert not folder.exists()


def test_only_its_own_lock_is_removed(tmp_path: Path) -> None:
    with sole_run(tmp_path):
        (tmp_path / RUN_LOCK).unlink()
        (tmp_path / RUN_LOCK).write_text("of another run\n")
    assert (tmp_path / RUN_LOCK).read_text() == "of another run\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_where_nothing_can_be_written_the_run_itself_says_why(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with sole_run(tmp_path / "run"):
        assert not (tmp_path / "run").exists()
    tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_a_folder_is_left_to_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with sole_run(tmp_path / "file" / "run"):
        assert (tmp_path / "file").is_file()


@pytest.mark.parametrize("words", [["--resume", "gone.pth"], ["training.precision=fp16"]])
def test_a_refused_run_leaves_no_folder_behind(words: list[str], tmp_path: Path) -> None:
    path, own = tmp_path / "config.yaml", tmp_path / "new" / "run"
    path.write_text(dump_yaml({**TINY, "checkpoint": {"dir": str(own)}}))
    refused = CliRunner().invoke(cli.app, ["train", "--config", str(path), *words])
    assert refused.exit_code == 2, refused.stderr
    assert [found.name for found in tmp_path.iterdir()] == ["config.yaml"]
    own.mkdir(parents=True)
    (own / "kept.txt").write_text("mine")
    assert CliRunner().invoke(cli.app, ["train", "--config", str(path), *words]).exit_code == 2
    assert [found.name for found in own.iterdir()] == ["kept.txt"]
