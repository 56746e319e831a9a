"""One driver a study."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.storage.lock import StudyInUse, StudyLock
from orchestrator.study.folder import StudyFolder

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from orchestrator.storage.lock import StudyLock
from orchestrator.study.folder import StudyFolder
with StudyLock(StudyFolder(Path(sys.argv[1]))):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `tmp_path` until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def foreign(folder: Path, seconds_ago: float) -> None:
    """Leaves the lock of a holder on another host, touched so long ago."""
    path = folder / "driver.lock"
    path.write_text(json.dumps({"pid": 123, "host": "elsewhere", "started": "2026-01-02 03:04:05"}), encoding="utf-8")
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


def test_a_second_holder_is_refused_by_name_of_the_first(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(StudyInUse) as caught, StudyLock(StudyFolder(tmp_path)):
        pass
    assert f"{tmp_path} is in use by process {holder.pid} on {socket.gethostname()} (since 20" in str(caught.value)


def test_a_dead_holders_lock_is_taken_over(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert json.loads((tmp_path / "driver.lock").read_text())["pid"] == holder.pid
    with StudyLock(StudyFolder(tmp_path)):
        assert json.loads((tmp_path / "driver.lock").read_text())["pid"] == os.getpid()


def test_a_released_lock_is_free(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.communicate("")
    assert holder.returncode == 0
    assert json.loads((tmp_path / "driver.lock").read_text()) == {}
    with StudyLock(StudyFolder(tmp_path)):
        pass
    with StudyLock(StudyFolder(tmp_path)):
        pass


def test_within_one_process_too(tmp_path: Path) -> None:
    with (
        StudyLock(StudyFolder(tmp_path)),
        pytest.raises(StudyInUse, match=str(os.getpid())),
        StudyLock(StudyFolder(tmp_path)),
    ):
        pass


def test_a_fresh_holder_on_another_host_is_respected(tmp_path: Path) -> None:
    foreign(tmp_path, 5)
    with pytest.raises(StudyInUse, match="process 123 on elsewhere"), StudyLock(StudyFolder(tmp_path)):
        pass
    assert json.loads((tmp_path / "driver.lock").read_text())["pid"] == 123


def test_a_stale_holder_on_another_host_is_taken_over(tmp_path: Path) -> None:
    foreign(tmp_path, 3600)
    with StudyLock(StudyFolder(tmp_path)):
        assert json.loads((tmp_path / "driver.lock").read_text())["host"] == socket.gethostname()


def test_a_holder_keeps_its_lock_fresh_whatever_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts that share a folder without kernel locks tell a living holder by the lock's time."""
    monkeypatch.setattr("orchestrator.storage.lock._TOUCH_SECONDS", 0.05)
    path = tmp_path / "driver.lock"
    with StudyLock(StudyFolder(tmp_path)):
        os.utime(path, (1.0, 1.0))
        deadline = time.monotonic() + 30.0
        while path.stat().st_mtime == 1.0:
            assert time.monotonic() < deadline, "the lock's time is not renewed"
            time.sleep(0.01)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": 1', "null", "\0\0"])
def test_a_lock_cut_short_by_a_kill_names_no_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "driver.lock").write_text(content, encoding="utf-8")
    with StudyLock(StudyFolder(tmp_path)):
        pass


def test_an_error_inside_releases_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), StudyLock(StudyFolder(tmp_path)):
        raise KeyError
    with StudyLock(StudyFolder(tmp_path)):
        pass
