"""`report` and `load_study` on a study that is finished, running, empty or damaged: a report, or one clear error."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator import load_study
from orchestrator.commands.cli import app
from orchestrator.output.study_files import write_plan
from orchestrator.storage.opening import open_search, opened
from orchestrator.study.plan import Plan

Damage = Callable[[Path], object]


def report(folder: Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stderr


def cut(name: str, share: float = 0.4) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return damage


def lines_left(name: str, count: int) -> Damage:
    def damage(folder: Path) -> None:
        lines = (folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:count]), encoding="utf-8")

    return damage


def filled(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "status", "words"),
    [
        (cut("study.db"), 1, "database disk image is malformed; it is damaged: put a copy in its place"),
        (filled("study.db", b"\x93not SQLite at all" * 500), 1, "file is not a database; it is damaged"),
        (filled("study.db", b""), 2, "its study.db holds no study tiny: it is another's, or was emptied"),
        (lambda folder: (folder / "study.db").unlink(), 2, "holds no study.db: the study has not begun, or was moved"),
        (lambda folder: (folder / "plan.yaml").unlink(), 2, "is not a study: it holds no plan.yaml"),
        (filled("plan.yaml", b"\xff\xfe\x00"), 2, "plan.yaml: not UTF-8 text"),
        (filled("plan.yaml", b"name: [1, 2"), 2, "plan.yaml, line 1: not valid YAML"),
        (lines_left("plan.yaml", 3), 2, "plan.yaml"),
        (filled("plan.yaml", b""), 2, "plan.yaml"),
    ],
)
def test_without_plan_or_database_one_error_says_so(
    finished_copy: Path, damage: Damage, status: int, words: str
) -> None:
    before = (finished_copy / "trials.csv").read_bytes(), (finished_copy / "report.html").read_bytes()
    damage(finished_copy)
    found, said = report(finished_copy)
    assert found == status, said
    assert words in said
    assert said.count("error:") == 1
    assert "Traceback" not in said
    assert ((finished_copy / "trials.csv").read_bytes(), (finished_copy / "report.html").read_bytes()) == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut("trials/0001/metrics.jsonl", 0.5), "metrics.jsonl of trials/0001 lacks evaluations that the study has"),
        (filled("trials/0001/metrics.jsonl", b"\xff\xfe{\n"), "metrics.jsonl of trials/0001 lacks"),
        (filled("trials/0001/metrics.jsonl", b'[1]\n{"epoch": 1}\n{"epoch": "x", "metrics": 3}\n'), "0001 lacks"),
        (cut("trials/0001/samples/last.json"), "last.json: Invalid JSON"),
        (
            filled("trials/0001/samples/last.json", b'{"samples": 3}'),
            "last.json: samples: Input should be a valid array",
        ),
        (cut("environment.json"), "environment.json: cannot be read"),
        (filled("environment.json", b"[1]"), "environment.json: cannot be read"),
    ],
)
def test_what_else_is_damaged_is_said_in_the_report(finished_copy: Path, damage: Damage, words: str) -> None:
    damage(finished_copy)
    status, said = report(finished_copy)
    assert (status, said) == (0, "")
    assert any(words in warning for warning in load_study(finished_copy).record.warnings)
    assert words in (finished_copy / "report.html").read_text(encoding="utf-8").replace("&#x27;", "'")
    assert len(load_study(finished_copy).trials) == 6


@pytest.mark.parametrize("command_words", [("promote",), ("retry", "--failed"), ("close",)])
def test_a_study_without_its_database_is_refused_and_none_is_made(
    finished_copy: Path, command_words: tuple[str, ...]
) -> None:
    (finished_copy / "study.db").unlink()
    before = {path: path.read_bytes() for path in finished_copy.glob("*.*") if path.is_file()}
    result = CliRunner().invoke(app, [command_words[0], str(finished_copy), *command_words[1:]])
    assert result.exit_code == 2
    assert "holds no study.db" in result.stderr
    assert not (finished_copy / "study.db").exists()
    assert {path: path.read_bytes() for path in before} == before


def test_a_sound_study_warns_of_nothing(finished: Path) -> None:
    assert list(load_study(finished).record.warnings) == []


def test_a_study_without_a_trial_is_reported(planned: Callable[..., Plan]) -> None:
    plan = planned([0.1])
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_plan(plan)
    with opened(plan) as store:
        open_search(store, plan)
    assert report(plan.folder) == (0, "")
    assert "No trial has been asked for yet" in (plan.folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("holder", "running"),
    [
        ({"pid": os.getpid(), "host": socket.gethostname()}, True),
        ({"pid": 2**22 + 1, "host": socket.gethostname()}, False),
        ({"pid": 1, "host": "elsewhere.invalid"}, True),
        ({}, False),
    ],
    ids=["runs here", "was killed", "runs on another host", "has ended"],
)
def test_the_report_says_whether_the_study_still_runs(
    finished_copy: Path, holder: dict[str, object], running: bool
) -> None:
    (finished_copy / "driver.lock").write_text(json.dumps(holder), encoding="utf-8")
    assert report(finished_copy) == (0, "")
    page = (finished_copy / "report.html").read_text(encoding="utf-8")
    assert ('<span class="chip running">still running</span>' in page) is running


def test_a_report_that_cannot_be_written_is_an_error(finished_copy: Path) -> None:
    (finished_copy / "report.html").unlink()
    (finished_copy / "report.html").mkdir()
    status, said = report(finished_copy)
    assert (status, said) == (1, f"error: {finished_copy / 'report.html'}: Is a directory\n")
