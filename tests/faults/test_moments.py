"""The exact moments that the faults here need (`hooks/sitecustomize.py`) are what the tests take them for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fault_parts import HOOKS, wait_for

CALLER = """
import colorsys, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
(folder / f"ready-{sys.argv[2]}").touch()
while not (folder / "start").exists():
    pass
colorsys.rgb_to_hsv(0.5, 0.5, 0.5)
"""


def test_of_several_processes_at_one_moment_one_is_held(tmp_path: Path) -> None:
    several = 6
    environment = {
        **os.environ,
        "PYTHONPATH": str(HOOKS),
        "RUNGWISE_PAUSE": "colorsys:rgb_to_hsv:1",
        "RUNGWISE_PAUSE_DIR": str(tmp_path),
    }
    callers = [
        subprocess.Popen([sys.executable, "-c", CALLER, str(tmp_path), str(number)], env=environment)
        for number in range(several)
    ]
    wait_for(lambda: len(list(tmp_path.glob("ready-*"))) == several, "all of them at the moment")
    (tmp_path / "start").touch()
    wait_for(lambda: sum(caller.poll() is not None for caller in callers) == several - 1, "all but one gone on")
    held = next(caller for caller in callers if caller.poll() is None)
    assert int((tmp_path / "paused-0").read_text(encoding="utf-8")) == held.pid
    (tmp_path / "go").touch()
    assert [caller.wait(30) for caller in callers] == [0] * several
    assert sorted(path.name for path in tmp_path.glob("paused*")) == ["paused-0"]
