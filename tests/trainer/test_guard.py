"""The exit status of a command: also where not even words can be written, when it is all that is left to tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FULL = Path("/dev/full")  # every write to it fails for want of room
TRIALS = '{"trials": [{"training.optimizer.lr": 0.1}]}'
PLAN = ("orchestrator", "plan", "t.json", "--budget-epochs", "1")


def ended(folder: Path, *words: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    (folder / "t.json").write_text(TRIALS, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONUNBUFFERED", None)  # under which nothing waits to be written
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, env=environment, text=True, check=False, **streams)


@pytest.mark.skipif(not FULL.exists(), reason="no device without room here")
@pytest.mark.parametrize(
    ("words", "stream", "status"),
    [
        (("orchestrator", "plan", "none.json"), "stderr", 2),
        (PLAN, "stdout", 1),
        (("trainer", "--config", "none.yaml"), "stderr", 2),
        (("trainer", "config", "captioning"), "stdout", 1),
    ],
)
def test_the_status_stands_where_words_find_no_room(
    words: tuple[str, ...], stream: str, status: int, tmp_path: Path
) -> None:
    with FULL.open("w", encoding="utf-8") as full:
        found = ended(tmp_path, *words, **{stream: full})
    assert found.returncode == status
    if stream == "stdout":
        assert found.stderr == "error: a file: No space left on device; make room, and the same command continues\n"


@pytest.mark.parametrize("words", [PLAN, ("trainer", "config", "captioning")], ids=["orchestrator", "trainer"])
def test_a_reader_who_has_read_enough_is_told_nothing(words: tuple[str, ...], tmp_path: Path) -> None:
    """As in `… | head -1`: the other end of the pipe is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        found = ended(tmp_path, *words, stdout=pipe)
    assert (found.returncode, found.stderr) == (1, "")
