"""A database that is locked, gone for a while or fought over; and what a second driver is told."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fault_parts import SMALL, TRIALS, NewBox, StudyBox, send, wait_for
from sqlalchemy.exc import OperationalError

from orchestrator.storage.database import _BUSY_SECONDS
from orchestrator.storage.store import open_store
from orchestrator.storage.writers import SqlWriter
from orchestrator.study.trial import COMPLETED, Evaluated, TrialState
from trainer.api import LOSS


def lock_for(study: Path, seconds: float) -> None:
    """Another process's hand on the database: nobody can write for so long."""
    with closing(sqlite3.connect(study / "study.db", timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")


@pytest.mark.slow
def test_a_locked_database_costs_no_trial(box: NewBox, oracle: StudyBox) -> None:
    one = box()
    driver = one.start()
    one.said("trial 1 epoch 1/3")
    lock_for(one.study, 1.5 * _BUSY_SECONDS)  # longer than SQLite itself waits
    one.ended(driver, 0)
    one.same_as(oracle)
    assert one.trained_again() == 0
    assert [row["retries"] for row in one.rows()] == ["0"] * 6


@pytest.mark.slow
def test_a_stop_while_the_database_is_locked(box: NewBox, oracle: StudyBox) -> None:
    """Nobody has to wait for a lock to stop a study: Ctrl-C again and again ends it, and nothing is lost."""
    one = box()
    driver = one.start()
    one.said("trial 1 epoch 1/3")
    with closing(sqlite3.connect(one.study / "study.db", timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        for _ in range(60):
            send(driver, signal.SIGINT)
            time.sleep(0.5)
            if driver.poll() is not None:
                break
        connection.execute("ROLLBACK")
    assert driver.poll() in (130, -signal.SIGINT), "it did not end while the database was locked"
    one.no_orphans()
    one.run()
    one.same_as(oracle)


@pytest.mark.slow
def test_many_at_once_on_one_new_study(box: NewBox) -> None:
    """One of them runs it; the others are refused in words, and the study is whole."""
    one = box({**SMALL, "trials": TRIALS[:1]})
    drivers = [one.start() for _ in range(4)]
    statuses = [driver.wait(240) for driver in drivers]
    output = one.output()
    assert sorted(set(statuses)) == [0, 1], output
    refused = re.findall(r"error: (.+) is in use by process (\d+) on (\S+) \(since", output)
    unnamed = output.count("is in use by another process")
    assert len(refused) + unnamed == statuses.count(1)
    pids = {driver.pid for driver, status in zip(drivers, statuses, strict=True) if status == 0}
    for folder, pid, host in refused:
        assert folder == str(one.study)
        assert int(pid) in pids
        assert host == socket.gethostname()
    assert "Traceback" not in output
    assert [row["status"] for row in one.rows()] == ["completed"]
    assert one.trained_again() == 0


OPENING = """
import sys, time
from pathlib import Path
from orchestrator.output.study_files import prepare_folder, write_plan
from orchestrator.planning.arguments import Request
from orchestrator.planning.request import make_plan
from orchestrator.storage.lock import StudyInUse, StudyLock
from orchestrator.storage.opening import open_search, opened
own, home = sys.argv[1], Path.cwd()
for number in range(10):
    plan, _ = make_plan(Request(home / "small.json", study=f"round{number}", output_dir=home / "outputs"))
    (home / f"ready-{number}-{own}").touch()
    while not (home / f"go-{number}").exists():
        time.sleep(0.001)
    prepare_folder(plan)
    try:
        with StudyLock(plan.files), opened(plan) as store:
            assert open_search(store, plan).load().trials == {}
            write_plan(plan)
            time.sleep(0.2)
        print("opened", number)
    except StudyInUse:
        print("refused", number)
"""


@pytest.mark.slow
def test_twelve_openings_at_one_moment_ten_times_over(tmp_path: Path) -> None:
    """The part of a start that is contested, without the training behind it."""
    (tmp_path / "small.json").write_text(json.dumps({**SMALL, "trials": TRIALS[:1]}), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    starts = [
        subprocess.Popen([sys.executable, "-c", OPENING, str(n)], cwd=tmp_path, env=environment, **pipes)  # type: ignore[call-overload]
        for n in range(12)
    ]
    for number in range(10):
        wait_for(lambda n=number: len(list(tmp_path.glob(f"ready-{n}-*"))) == 12, "twelve that are ready", 120.0)
        (tmp_path / f"go-{number}").touch()
    ends = [start.communicate(timeout=120) for start in starts]
    assert [start.returncode for start in starts] == [0] * 12, ends
    lines = "".join(out for out, _ in ends).splitlines()
    for number in range(10):
        assert f"opened {number}" in lines
        assert lines.count(f"opened {number}") + lines.count(f"refused {number}") == 12
        with closing(sqlite3.connect(tmp_path / "outputs" / f"round{number}" / "study.db")) as database:
            assert database.execute("SELECT study_name FROM studies").fetchall() == [(f"round{number}",)]


@pytest.mark.slow
def test_a_second_driver_is_refused_and_a_dead_holder_is_not(finished: StudyBox) -> None:
    lock = finished.study / "driver.lock"
    finished.pause_at("orchestrator.commands.session:write_environment:1")
    holder = finished.start()
    finished.paused()
    held = json.loads(lock.read_text(encoding="utf-8"))
    assert (held["pid"], held["host"]) == (holder.pid, socket.gethostname())
    for command in ((), ("retry", str(finished.study), "--failed"), ("close", str(finished.study))):
        said = finished.run(command=command, status=1)
        assert f"is in use by process {holder.pid} on {socket.gethostname()}" in said
    assert "completed" in finished.run(command=("status", str(finished.study)))
    send(holder, signal.SIGKILL)
    holder.wait(30)
    assert json.loads(lock.read_text(encoding="utf-8"))["pid"] == holder.pid, "the dead one's name still stands there"
    finished.run()


def test_a_holder_on_another_host_is_believed_while_it_is_fresh(finished: StudyBox) -> None:
    lock = finished.study / "driver.lock"
    lock.write_text(json.dumps({"pid": 4711, "host": "elsewhere", "started": "2026-01-01 00:00:00"}), encoding="utf-8")
    assert "is in use by process 4711 on elsewhere (since 2026-01-01 00:00:00)" in finished.run(status=1)
    os.utime(lock, (time.time() - 600, time.time() - 600))
    finished.run()


@pytest.mark.parametrize("work", ["create", "write"])
def test_an_answer_that_got_lost_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    """The server did what it was asked and went away before it said so: it must not be done twice."""
    study = open_store(f"sqlite:///{tmp_path / 'study.db'}").study("one", LOSS, {}, {})
    assert isinstance(study._writer, SqlWriter)
    real, answers = getattr(study._writer, work), []

    def done_but_unanswered(*arguments: object) -> object:
        answers.append(real(*arguments))
        if len(answers) == 1:
            raise OperationalError(work, {}, Exception("server closed the connection unexpectedly"))
        return answers[-1]

    monkeypatch.setattr(study._writer, work, done_but_unanswered)
    for index in range(2):
        trial = TrialState(-1, index, {})
        study.add(trial, {})
        assert trial.number == index
        trial.add(Evaluated(1, 2.0, 0.5))
        trial.status = COMPLETED
        study.evaluated(trial, 1)
        study.decided(trial)
    found = study.load().in_order()
    assert [(trial.number, trial.index, trial.status, trial.value) for trial in found] == [
        (0, 0, COMPLETED, 2.0),
        (1, 1, COMPLETED, 2.0),
    ]


# ---- PostgreSQL


def server_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")) or [Path(shutil.which("pg_ctl") or "/none")]
    return found[-1].parent if found[-1].is_file() else None


class Server:
    """A PostgreSQL server of the test's own, under a user who may run one."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if os.getuid() == 0:
            shutil.chown(folder, "nobody")
        self._do("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "tester", "--no-sync")

    def _do(self, program: str, *arguments: str) -> None:
        words = [str(self.programs / program), *arguments]
        if os.getuid() == 0:
            words = ["runuser", "-u", "nobody", "--", *words]
        done = subprocess.run(
            words,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        log = str(self.folder / "log")
        self._do("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", log, "-o", options, "start")

    def stop(self, mode: str) -> None:
        self._do("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", mode, "stop")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://tester@127.0.0.1:{self.port}/postgres"


@pytest.fixture
def server() -> Iterator[Server]:
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    programs = server_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed")
    with tempfile.TemporaryDirectory() as folder:  # where another user may reach it
        one = Server(programs, Path(folder))
        one.start()
        yield one
        one.stop("immediate")


@pytest.mark.slow
def test_a_restarted_server_costs_no_trial(box: NewBox, oracle: StudyBox, server: Server) -> None:
    """Ended with a word to its clients, at once, and at once in full training."""
    one = box(SMALL, "--promote", "1", "--storage", server.url)
    driver = one.start()
    for line, mode, pause in (
        ("trial 1 epoch 2/3", "fast", 0.0),
        ("trial 2 epoch 2/3", "immediate", 4.0),
        ("in full, seed 0 epoch 1/4", "immediate", 1.0),
    ):
        one.said(line)
        server.stop(mode)
        time.sleep(pause)
        server.start()
    one.ended(driver, 0)
    one.same_as(oracle, promoted=True)
    assert "does not answer" in one.output()
    assert not (one.study / "study.db").exists()
    assert [row["retries"] for row in one.rows()] == ["0"] * 6
    assert one.run().count(" epoch ") == 0
    one.same_as(oracle, promoted=True)


@pytest.mark.slow
def test_a_killed_driver_on_a_server_loses_nothing(box: NewBox, oracle: StudyBox, server: Server) -> None:
    one = box(SMALL, "--storage", server.url)
    one.killed_at("trainer.run.loop:evaluate:2")
    one.run()
    one.same_as(oracle)


def test_a_server_that_is_not_there_is_named(box: NewBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.storage.database._OPEN_SECONDS", 2.0)
    said = box(SMALL, "--storage", "postgresql+psycopg2://tester@127.0.0.1:1/postgres").run(status=1)
    assert "does not answer" in said
    assert "error: the study's database cannot be used: " in said
    assert "Traceback" not in said
