"""Real studies in real processes, small enough to be run many times, and the undisturbed run to compare with."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml
from in_process import command as command_in_process

ROOT = Path(__file__).resolve().parents[2]
HOOKS = Path(__file__).resolve().parent / "hooks"
OPEN_COLUMNS = ("seconds", "retries", "checkpoint")  # may differ from an undisturbed run
PAUSE = {"RUNGWISE_PAUSE", "RUNGWISE_PAUSE_DIR"}
DEADLINE = 240.0  # seconds; for anything that only a broken program never does

OVERRIDES = {
    "data.scenes.images": 60,
    "data.scenes.size": 48,
    "data.scenes.captions_per_image": 3,
    "data.image_size": 32,
    "model.embed_size": 16,
    "model.encoder_dim": 16,
    "model.decoder_dim": 16,
    "training.batch_size": 16,
    "training.epochs": 4,
}
TRIALS = [
    {"training.optimizer.lr": 0.01},
    {"training.optimizer.lr": 0.003},
    {"training.optimizer.lr": 1e-5},
    {"training.optimizer.lr": 0.02},
    {"training.lr": "5e-3"},
    {"training.optimizer.lr": 0.003},
]
SMALL: dict[str, Any] = {
    "overrides": OVERRIDES,
    "budget": {"epochs": 3, "subset": 30},
    "search": {"pruner": {"name": "median", "n_startup_trials": 2}},
    "trials": TRIALS,
}


def wait_for(what: Callable[[], Any], words: str, seconds: float = DEADLINE) -> Any:
    """Polls until something is true, and returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{words}: not within {seconds:.0f} s")


@dataclass
class StudyBox:
    """One study in a folder of its own, and every process that was started in it."""

    folder: Path
    content: Any
    arguments: Sequence[str] = ()
    name: str = "small"
    environment: dict[str, str] = field(default_factory=dict)
    drivers: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_trials(self.content)

    def write_trials(self, content: Any) -> None:
        (self.folder / f"{self.name}.json").write_text(json.dumps(content), encoding="utf-8")

    @property
    def study(self) -> Path:
        return self.folder / "outputs" / self.name

    def trial(self, trial_id: int) -> Path:
        return self.study / "trials" / f"{trial_id:04d}"

    # ---- processes

    def start(self, *more: str, command: Sequence[str] = (), **popen: Any) -> subprocess.Popen[str]:
        """Starts `run` (or another command) and returns its process; its words go to `output.txt`."""
        words = self._words(command)
        paths = [str(HOOKS), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **self.environment}
        environment.pop("PYTHONUNBUFFERED", None)  # words that wait to be written are part of what may go wrong
        with (self.folder / "output.txt").open("a", encoding="utf-8") as output:
            # Whoever runs these tests in the background ignores Ctrl-C, and so would all that it starts.
            process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", *words, *more],
                cwd=self.folder, env=environment, text=True, stdout=output, stderr=subprocess.STDOUT,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **popen,
            )  # fmt: skip
        self.drivers.append(process)
        return process

    def _words(self, command: Sequence[str]) -> list[str]:
        return list(command) or ["run", f"{self.name}.json", "--threads-per-slot", "1", *self.arguments]

    def run(self, *more: str, command: Sequence[str] = (), status: int = 0, **popen: Any) -> str:
        """Runs a command to its end, checks its exit status, and returns what this call said.

        In this process where nothing is done to the driver meanwhile: the moments of `pause_at` are of earlier calls.
        """
        before = len(self.output())
        if not popen and not self.environment.keys() - PAUSE:
            words = [*self._words(command), *more]
            done = command_in_process("orchestrator", words, self.folder, {"OMP_NUM_THREADS": "1"})
            with (self.folder / "output.txt").open("a", encoding="utf-8") as output:
                output.write(done.stdout + done.stderr)
            assert done.returncode == status, f"exit status {done.returncode}, not {status}:\n{self.output()[-4000:]}"
            return self.output()[before:]
        process = self.start(*more, command=command, **popen)
        self.ended(process, status)
        return self.output()[before:]

    def ended(self, process: subprocess.Popen[str], status: int, seconds: float = DEADLINE) -> None:
        found = process.wait(seconds)
        assert found == status, f"exit status {found}, not {status}:\n{self.output()[-4000:]}"

    def output(self) -> str:
        path = self.folder / "output.txt"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def processes(self) -> list[psutil.Process]:
        """Every living process that was started in this folder, whoever its parent is now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def slots(self) -> list[psutil.Process]:
        """The processes in which slices run (without their loading processes), oldest first."""
        found = []
        for process in self.processes():
            try:
                forked = any("multiprocessing.forkserver" in word for word in process.cmdline())
                if forked and process.pid == os.getpgid(process.pid):
                    found.append(process)
            except (psutil.Error, ProcessLookupError):
                continue
        return sorted(found, key=lambda process: process.pid)

    def slot(self) -> psutil.Process:
        """The one slot's process, once it is there."""
        return wait_for(self.slots, "a slot's process")[0]

    def no_orphans(self, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while left := self.processes():
            assert time.monotonic() < deadline, f"not gone within {seconds:.0f} s: {[_words_on(one) for one in left]}"
            time.sleep(0.01)

    def kill_all(self) -> None:
        for process in self.processes():
            try:
                process.kill()
            except psutil.Error:
                continue
        for driver in self.drivers:
            driver.wait(30)

    # ---- moments

    def pause_at(self, *places: str) -> None:
        """From the next start on holds the numbered call of a function, once (see `hooks/sitecustomize.py`)."""
        folder = self.folder / "marks"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.environment.update(RUNGWISE_PAUSE=" ".join(places), RUNGWISE_PAUSE_DIR=str(folder))

    def paused(self, place: int = 0) -> int:
        """Waits for that moment; returns the id of the process that is held."""
        mark = self.folder / "marks" / f"paused-{place}"
        wait_for(mark.exists, "the moment of the fault")
        return int(mark.read_text(encoding="utf-8"))

    def killed_at(self, place: str) -> None:
        """Starts the study, and kills slot and driver together where the slot is held at a moment."""
        self.pause_at(place)
        driver = self.start()
        for process in (psutil.Process(self.paused()), driver):
            send(process, signal.SIGKILL)
        driver.wait(30)
        self.no_orphans()

    def go(self) -> None:
        (self.folder / "marks" / "go").touch()

    def said(self, words: str, seconds: float = DEADLINE) -> None:
        """Waits until the driver has said this."""
        wait_for(lambda: words in self.output(), f"“{words}” said", seconds)

    def evaluated(self, trial_id: int, epoch: int) -> None:
        """Waits until the trial's own file has this epoch."""
        path = self.trial(trial_id) / "metrics.jsonl"
        wait_for(lambda: path.exists() and f'"epoch": {epoch},' in path.read_text("utf-8"), f"epoch {epoch}")

    # ---- results

    def rows(self) -> list[dict[str, str]]:
        with (self.study / "trials.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def table(self) -> list[dict[str, str]]:
        """The trial table, in all columns that a fault must not change, without those that promotion adds."""
        left_out = {*OPEN_COLUMNS, "full_bleu_mean", "full_bleu_std", "seeds"}
        return [{key: cell for key, cell in row.items() if key not in left_out} for row in self.rows()]

    def best(self) -> dict[str, Any]:
        found = yaml.safe_load((self.study / "best.yaml").read_text(encoding="utf-8"))
        assert isinstance(found, dict)
        return found

    def metrics(self) -> dict[str, list[Any]]:
        """What every run wrote epoch by epoch, without the seconds; an epoch stands once."""
        found = {}
        for path in sorted(self.study.glob("*/*/metrics.jsonl")):
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            epochs = [line["epoch"] for line in lines]
            assert epochs == sorted(set(epochs)), f"{path}: {epochs}"
            found[str(path.parent.relative_to(self.study))] = [
                {key: value for key, value in line.items() if key != "seconds"} for line in lines
            ]
        return found

    def full_evaluation(self, number: int) -> str:
        """The moment of a promoted run's numbered evaluation, where this study ran undisturbed in one slot."""
        searched = sum(len(lines) for run, lines in self.metrics().items() if run.startswith("trials/"))
        return f"trainer.run.loop:evaluate:{searched + number}"

    def trained_again(self) -> int:
        """Epochs trained more than once, by the lines of the runs' own logs."""
        extra = 0
        for path in self.study.glob("*/*/log.txt"):
            lines = Counter(re.findall(r" epoch (\d+): ", path.read_text(encoding="utf-8")))
            extra += sum(times - 1 for times in lines.values())
        return extra

    def same_first_trials(self, oracle: StudyBox) -> None:
        """A study of the first trials alone, as they are in the undisturbed run."""
        assert self.table() == oracle.table()[: len(self.rows())]
        assert self.metrics() == {run: oracle.metrics()[run] for run in self.metrics()}

    def same_as(self, oracle: StudyBox, promoted: bool = False) -> None:
        """The same trials, decisions, numbers and best configuration as the undisturbed run."""
        assert self.table() == oracle.table()
        mine, theirs = self.metrics(), oracle.metrics()
        if promoted:
            assert mine == theirs
            assert self.best() == oracle.best()
            assert [row["full_bleu_mean"] for row in self.rows()] == [row["full_bleu_mean"] for row in oracle.rows()]
        else:
            assert mine == {run: lines for run, lines in theirs.items() if run.startswith("trials/")}
        assert not [row for row in self.rows() if row["status"] in ("running", "paused")]


NewBox = Callable[..., StudyBox]


def _words_on(process: psutil.Process) -> dict[str, Any]:
    """What tells a process that was left behind from one that is merely slow."""
    try:
        return process.as_dict(["pid", "ppid", "status", "cmdline", "cpu_times", "num_threads", "create_time"])
    except psutil.Error as error:
        return {"pid": process.pid, "gone": str(error)}


def send(process: subprocess.Popen[str] | psutil.Process, number: int) -> None:
    os.kill(process.pid, number)
