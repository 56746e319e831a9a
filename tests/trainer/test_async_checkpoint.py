"""Checkpoints are written beside the training: from a copy, whole before anything is said to be done."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from trainer_parts import metrics_lines, same, session_of, stop_after, tiny, trained, training_state, without_seconds

from trainer.api import Evaluation, Heartbeat, Hooks, NonFiniteLoss, dump_yaml
from trainer.checkpoints.background import BackgroundWriter, StateCopy
from trainer.checkpoints.files import BEST, LAST, load_checkpoint, rotate_and_save
from trainer.errors import WriteError
from trainer.run import writer

ROOT = Path(__file__).resolve().parents[2]
Before = Callable[[int], None]


@pytest.fixture
def before_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Before], None]:
    """Has something done before each numbered write, in the thread that writes."""

    def set_up(before: Before) -> None:
        numbers = iter(range(1, 1000))

        def write(state: Any, folder: Path) -> Path:
            before(next(numbers))
            return rotate_and_save(state, folder)

        monkeypatch.setattr(writer, "rotate_and_save", write)

    return set_up


def test_a_copy_is_the_state_and_nothing_changes_it() -> None:
    weight, plain = torch.arange(6.0).reshape(2, 3), [1.5, {"a": None}]
    weights = OrderedDict(weight=weight, tied=weight, turned=weight.t(), none=torch.empty(0))
    weights._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    state = {"model": weights, "plain": plain, 3: (torch.tensor(2), "x")}
    copies = StateCopy()
    copied = copies.take(state)
    assert same(copied, state)
    weight += 1
    plain.append(2)
    assert copied["model"]["weight"][0].tolist() == [0.0, 1.0, 2.0]
    assert copied["plain"] == [1.5, {"a": None}]
    assert copied["model"]["tied"] is copied["model"]["weight"]
    assert copied["model"]["turned"].stride() == weight.t().stride()
    assert copied["model"]._metadata == {"": {"version": 1}}
    again = copies.take(state)
    assert same(again, state)
    assert again["model"]["weight"].data_ptr() == copied["model"]["weight"].data_ptr(), "the buffer is used again"
    weights["weight"] = torch.ones(5, dtype=torch.float64)
    assert same(copies.take(state), state)


def test_one_piece_of_work_at_a_time_and_its_error_once() -> None:
    background, under_way, most = BackgroundWriter(), [0], [0]

    def work() -> None:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.02)
        under_way[0] -= 1

    for _ in range(5):
        background.start(work)
    background.wait()
    assert (most, under_way, background.busy) == ([1], [0], False)
    background.start(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(ZeroDivisionError):
        background.start(work)
    background.wait()


@pytest.mark.slow
def test_training_goes_on_while_a_checkpoint_is_written(before_write: Any, tmp_path: Path) -> None:
    """The first write takes until the second epoch's fourth step: it holds the first epoch's end, and its report
    waits for it."""
    straight = trained(tiny(tmp_path / "straight", checkpoint__every_n_epochs=1))
    reached, events = threading.Event(), []

    def heartbeat(beat: Heartbeat) -> None:
        events.append((beat.epoch, beat.step))
        if (beat.epoch, beat.step) == (2, 4):
            reached.set()

    def report(evaluation: Evaluation) -> None:
        saved = load_checkpoint(tmp_path / "run" / LAST)["progress"]["epoch"]
        events.append(("report", evaluation.epoch, saved))

    before_write(lambda number: number > 1 or reached.wait(60) or pytest.fail("the loop waited"))
    config = tiny(tmp_path / "run", checkpoint__every_n_epochs=1)
    outcome = trained(config, hooks=Hooks(report=report, heartbeat=heartbeat))
    assert [event for event in events if event[0] == "report"] == [("report", n, n) for n in (1, 2, 3, 4)]
    assert (2, 4) < events[events.index(("report", 1, 1)) - 1] <= (2, 8) or events.index(("report", 1, 1)) == 12
    assert without_seconds(outcome.evaluations) == without_seconds(straight.evaluations)
    for name in (LAST, BEST, *(f"checkpoint_epoch_{n}.pth" for n in (1, 2, 3, 4))):
        assert same(training_state(tmp_path / "run", name), training_state(tmp_path / "straight", name)), name


@pytest.mark.parametrize("stop", [None, 3], ids=["an epoch", "interrupted"])
def test_a_slice_is_done_when_its_file_is_whole(stop: int | None, before_write: Any, tmp_path: Path) -> None:
    before_write(lambda _number: time.sleep(0.3))
    hooks = Hooks(should_stop=stop_after(stop)) if stop else Hooks()
    with session_of(tiny(tmp_path)) as session:
        outcome = session.train(1, hooks)
        assert load_checkpoint(tmp_path / LAST)["progress"]["step"] == outcome.step == (stop or 8)
        assert outcome.checkpoint == str(tmp_path / LAST)


@pytest.mark.slow
@pytest.mark.parametrize("failing", [1, 2, 4])
def test_a_write_that_fails_is_raised_and_its_evaluation_not_reported(
    failing: int, before_write: Any, tmp_path: Path
) -> None:
    def before(number: int) -> None:
        if number == failing:
            raise WriteError("no room")

    straight = trained(tiny(tmp_path / "straight"))
    before_write(before)
    heard: list[int] = []
    config = tiny(tmp_path / "run")
    with pytest.raises(WriteError, match="no room"):
        trained(config, hooks=Hooks(report=lambda evaluation: heard.append(evaluation.epoch)))
    assert heard == list(range(1, failing))
    if failing > 1:
        assert load_checkpoint(tmp_path / "run" / LAST)["progress"]["epoch"] == failing - 1
    before_write(lambda _number: None)
    resumed = trained(config, resume=True)
    assert without_seconds(resumed.evaluations) == without_seconds(straight.evaluations)
    assert metrics_lines(tmp_path / "run") == metrics_lines(tmp_path / "straight")


@pytest.mark.parametrize("fails", [False, True])
def test_of_two_errors_the_one_that_ended_the_run_is_told(
    fails: bool, before_write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way is still ended, and reported where its file is whole."""

    def before(_number: int) -> None:
        time.sleep(0.3)
        if fails:
            raise WriteError("no room")

    before_write(before)
    heard: list[int] = []
    with session_of(tiny(tmp_path)) as session:
        task, calls = session.run.task, iter(range(1, 1000))
        true_loss = task.loss
        monkeypatch.setattr(task, "loss", lambda m, b: true_loss(m, b) * (torch.nan if next(calls) > 8 else 1.0))
        monkeypatch.setattr(session.writer, "stepped", lambda _run: None)
        expected = (NonFiniteLoss, WriteError) if fails else NonFiniteLoss  # a slow machine may see the write first
        with pytest.raises(expected):
            session.train(2, Hooks(report=lambda evaluation: heard.append(evaluation.epoch)))
    assert heard == ([] if fails else [1])
    assert (tmp_path / LAST).exists() != fails


KILLED = """
import sys, time
from pathlib import Path
from trainer.checkpoints import files as checkpoint
from trainer.api import Hooks, resolve_config, train, read_yaml
true_digest, numbers = checkpoint._digest, iter(range(1, 100))
def digest(file, length):
    if next(numbers) == 2:
        time.sleep(120)
    return true_digest(file, length)
checkpoint._digest = digest
hooks = Hooks(lambda e: print("report", e.epoch, flush=True), lambda b: print("step", b.epoch, b.step, flush=True))
train(resolve_config(read_yaml(Path(sys.argv[1]))), hooks=hooks)
"""


@pytest.mark.slow
def test_a_kill_while_it_writes_and_trains_costs_nothing_that_was_reported(tmp_path: Path) -> None:
    """The second epoch's file is half written while the third is trained."""
    straight = trained(tiny(tmp_path / "straight"))
    config = tiny(tmp_path / "run")
    (tmp_path / "config.yaml").write_text(dump_yaml(config.plain()), encoding="utf-8")
    words = [sys.executable, "-c", KILLED, str(tmp_path / "config.yaml")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line.strip())
            if said[-1] == "step 3 5":
                process.send_signal(signal.SIGKILL)
                break
    assert [line for line in said if "report" in line] == ["report 1"]
    assert list((tmp_path / "run").glob(f".{LAST}.*")), "the new checkpoint was half written"
    assert load_checkpoint(tmp_path / "run" / LAST)["progress"]["epoch"] == 1
    resumed = trained(config, resume=True)
    assert without_seconds(resumed.evaluations) == without_seconds(straight.evaluations)
    assert same(training_state(tmp_path / "run"), training_state(tmp_path / "straight"))
    assert metrics_lines(tmp_path / "run") == metrics_lines(tmp_path / "straight")
    assert not list((tmp_path / "run").glob(f".{LAST}.*"))
