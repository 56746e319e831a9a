"""The exit status where not even words can be written: it is all that is left to tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")  # every write to it fails for want of room
TRIALS = '{"trials": [{"training.optimizer.lr": 0.1}]}'


@pytest.mark.skipif(not FULL.exists(), reason="no device without room here")
@pytest.mark.parametrize(("stream", "file", "status"), [("stderr", "none.json", 2), ("stdout", "t.json", 1)])
def test_the_status_stands_where_words_find_no_room(stream: str, file: str, status: int, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(TRIALS)
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("PYTHONUNBUFFERED", None)  # under which nothing waits to be written
    words = [sys.executable, "-m", "orchestrator", "plan", file, "--budget-epochs", "1"]
    with FULL.open("w", encoding="utf-8") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        ended = subprocess.run(words, cwd=tmp_path, env=environment, text=True, check=False, **streams)
    assert ended.returncode == status
    if stream == "stdout":
        assert ended.stderr == "error: a file: No space left on device; make room, and the same command carries on\n"
