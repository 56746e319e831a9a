"""What is shown while a study runs: each view over a real stage, and the commands that choose one."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from orchestrator_parts import LR, Bench, Fault, orchestrator_command, python_process, write_trials
from rich.console import Console
from typer.testing import CliRunner

from orchestrator.commands.cli import app
from orchestrator.engine.watcher import Watchers
from orchestrator.output import plain, views
from orchestrator.output.json_lines import JsonView
from orchestrator.output.live import LiveView, spent_words
from orchestrator.output.views import VIEWS, View, make_view
from orchestrator.slots.slot import Beat
from orchestrator.study.plan import Limits
from orchestrator.study.state import StudyState
from trainer.api import ConfigError

A, B = 0.1, 0.2
CURVES = {A: (10.0, 30.0, 20.0), B: (20.0, 30.0, 40.0)}


def watched(bench: Callable[..., Bench], view: View, **more: Any) -> Bench:
    """A whole search, looked on by a view."""
    b = bench(CURVES, more)
    b.watcher = Watchers(b.watcher, view)  # type: ignore[assignment]
    with view:
        view.say("before [bold]it[/bold] begins")
        b.search()
    return b


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_looks_on_at_a_whole_study(
    name: str, bench: Callable[..., Bench], capsys: pytest.CaptureFixture[str]
) -> None:
    watched(bench, make_view(name), faults={(B, 2): [Fault("nan", "the loss is [/nan]")]})
    out, err = capsys.readouterr()
    if name == "quiet":
        assert (out, err) == ("", "")
    elif name == "json":
        assert err == ""
    else:
        assert out == ""
        assert "before [bold]it[/bold] begins" in err
        assert "trial 1 epoch 1/3: BLEU 10, loss 90" in err
        assert "trial 2 failed (nan): the loss is [/nan]" in err


def test_a_line_of_json_for_each_thing_that_happens(
    bench: Callable[..., Bench], capsys: pytest.CaptureFixture[str]
) -> None:
    watched(bench, make_view("json"), faults={(B, 2): [Fault("nan", "the loss is nan")]})
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["event"] for e in events[:2]] == ["said", "trial"]
    points = [(e["trial_id"], e["epoch"], e["of"], e["slot"], e["value"]) for e in events if e["event"] == "evaluation"]
    assert points == [(1, epoch, 3, "slot 1", CURVES[A][epoch - 1]) for epoch in (1, 2, 3)] + [(2, 1, 3, "slot 1", 20)]
    last = {e["trial_id"]: (e["status"], e["reason"]) for e in events if e["event"] == "trial"}
    assert last[1][0] == "completed"
    assert last[2] == ("failed", "trial 2 failed (nan): the loss is nan")
    assert all("T" in e["time"] for e in events)


def test_a_reader_that_goes_away_stops_no_study(bench: Callable[..., Bench]) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    assert watched(bench, JsonView(Gone())).statuses() == ["completed", "completed"]


def test_the_live_table_says_where_every_slot_is(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Console(file=io.StringIO(), force_terminal=True, width=160, markup=False)
    monkeypatch.setattr(plain, "stderr_console", lambda **_: shown)
    view = LiveView()
    seen: list[str] = []
    b = bench(CURVES, workers=2)

    def look(stage: Any) -> None:
        for slot in b.slots.slots:
            if slot.busy_with is not None:
                epoch = stage.state.trials[slot.busy_with].epochs + 1
                view.beat(stage, slot, Beat(slot.busy_with, min(epoch, 3), 2, 4))  # type: ignore[arg-type]
        paper = Console(file=io.StringIO(), width=80)
        paper.print(view.table(stage), view.footer(stage))
        seen.append(paper.file.getvalue())  # type: ignore[attr-defined]

    b.watcher.on_tick = look
    b.watcher = Watchers(b.watcher, view)  # type: ignore[assignment]
    b.search()
    heads = [line.split() for line in seen[0].split("\n")[:2]]
    assert heads[0] == ["best", "s", "per", "time", "budget"]
    assert heads[1] == ["slot", "trial", "rung", "epoch", "BLEU", "BLEU", "epoch", "left", "used"]
    rows = [line.split() for line in seen[1].split("\n")]
    assert ["slot", "1", "trial", "1", "1/1", "2.5/3", "30", "30", "10.0", "5", "s", "83%"] in rows
    assert ["slot", "2", "trial", "2", "1/1", "2.5/3", "30", "30", "10.0", "5", "s", "83%"] in rows
    assert "idle" in seen[-1]
    assert "2 of 2 trials: 2 running; best trial" not in seen[0]
    assert re.search(r"about \d+ s left; \d+ s spent", seen[1])


def test_what_is_spent_of_the_limits(bench: Callable[..., Bench]) -> None:
    plan = bench(CURVES).plan
    assert spent_words(plan, StudyState(seconds_before=60.0), 70.0) == "2 min spent"
    limited = replace(plan, limits=Limits(timeout_seconds=7200.0, max_gpu_hours=0.5))
    assert spent_words(limited, StudyState(), 70.0) == "70 s of 2.0 h, 0 of 0.5 slot-hours spent"


def test_where_nobody_looks_on_lines_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(make_view("auto")).__name__ == "PlainView"
    monkeypatch.setattr(views, "stderr_console", lambda **_: Console(file=io.StringIO(), force_terminal=True))
    assert type(make_view("auto")).__name__ == "LiveView"


@pytest.mark.parametrize("command", [["run", "trials.json"], ["promote", "x"], ["retry", "x", "--failed"]])
def test_a_view_that_is_none_is_refused_before_anything_runs(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--view", "loud"])
    assert done.exit_code == 2
    assert "--view: must be one of auto, live, plain, quiet, json, not 'loud'" in done.stderr
    with pytest.raises(ConfigError):
        make_view("loud")


@pytest.mark.slow
def test_the_commands_views(tmp_path: Path) -> None:
    write_trials(tmp_path / "tiny.json", [{LR: 0.002}], budget={"epochs": 1, "subset": 20})
    quiet = python_process(
        tmp_path, "-m", "orchestrator", "run", "tiny.json", "--threads-per-slot", "1", "--view", "quiet"
    )
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    told = orchestrator_command(tmp_path, "promote", "outputs/tiny", "--view", "json")
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert (told.returncode, told.stderr) == (0, "")
    assert {e["seed"] for e in events if e["event"] == "evaluation"} == {0}
    assert any("report: " in e.get("text", "") for e in events)
