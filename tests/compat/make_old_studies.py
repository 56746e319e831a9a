"""Makes the studies of `studies/` with whatever code is on Python's path: `python tests/compat/make_old_studies.py`.

They stand for studies that users have from before a change, so they are made once, by the code of that time, and not
again: a study made by the code under test would show nothing. Reports and locks are left out, they are large or of a
process that is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
LEFT_OUT = ("report.html", "slots.log", "driver.lock", "artifacts", "samples")
DEADLINE = 120.0


def start(folder: Path, *words: str, nap: float = 0.0) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TOY_NAP": str(nap), "OMP_NUM_THREADS": "1", "RUNGWISE_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "orchestrator", *words, "--workers", "1", "--threads-per-slot", "1"]
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.005)


def holds(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text(encoding="utf-8")


def killed(folder: Path, name: str, moment: Callable[[Path], bool], nap: float = 0.0) -> None:
    """Runs a study up to a moment, then kills the driver and all that it started, with SIGKILL."""
    driver = start(folder, "run", f"{name}.yaml", nap=nap)
    until(lambda: moment(folder / "outputs" / name))
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    for process in psutil.process_iter():  # a slot leads a group of its own
        with suppress(psutil.Error):
            if process.cwd() == str(folder):
                process.kill()


def pack(folder: Path, name: str) -> None:
    study = folder / "outputs" / name
    for unwanted in LEFT_OUT:
        for path in sorted(study.rglob(unwanted)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    environment = study / "environment.json"
    known = {**json.loads(environment.read_text(encoding="utf-8")), "host": "another", "git commit": "none"}
    environment.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    target = HERE / "studies" / f"{name}.tar.xz"
    target.parent.mkdir(exist_ok=True)
    with tarfile.open(target, "w:xz") as archive:
        archive.add(study, name)


def main() -> None:
    folder = Path(tempfile.mkdtemp()).resolve()
    shutil.copytree(HERE / "data", folder, dirs_exist_ok=True)
    # Trials 2, 8 and 9 are paused by then, 1 and 5 completed, 4 a duplicate, 6 failed, 7 pruned; 3 trains on rung 2.
    killed(folder, "ladder", lambda study: holds(study / "driver.log", "trial 3 goes on to rung 2"), nap=0.4)
    killed(folder, "boxes", lambda study: (study / "trials/0001/checkpoints/last.pth").exists())
    assert start(folder, "run", "small.yaml").wait() == 0
    for name in ("ladder", "boxes", "small"):
        pack(folder, name)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
