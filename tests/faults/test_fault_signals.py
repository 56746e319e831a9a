"""SIGTERM and Ctrl-C: a checkpoint, the right status, and a study that the same command carries on, bitwise."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from fault_parts import SMALL, TRIALS, NewBox, StudyBox, send, wait_for

STOP_SECONDS = 30.0


def damage(path: Path, how: str = "truncated") -> None:
    """Cuts a file in half, or turns one bit in its middle."""
    data = bytearray(path.read_bytes())
    if how == "truncated":
        data = data[: len(data) // 2]
    else:
        data[len(data) // 2] ^= 1
    path.unlink()  # it may have other names
    path.write_bytes(bytes(data))


@pytest.mark.slow
def test_stopped_three_ways_and_carried_on(box: NewBox, oracle: StudyBox) -> None:
    """SIGTERM in mid-epoch, Ctrl-C, Ctrl-C twice; then a damaged checkpoint; then the undisturbed run's table."""
    one = box(SMALL, "--promote", "1")
    one.pause_at("trainer.run.loop:optimizer_step:9")  # in the second epoch of trial 1
    driver = one.start()
    one.paused()
    send(driver, signal.SIGTERM)
    time.sleep(3.0)  # so that the word is there before the next step is
    one.go()
    one.ended(driver, 143, STOP_SECONDS)
    one.no_orphans()
    assert "the same command continues the study" in one.output()
    assert [row["status"] for row in one.rows()] == ["paused"]
    assert one.rows()[0]["reason"] == "trial 1 paused after epoch 1: the driver was stopped"

    one.pause_at("trainer.run.loop:evaluate:4")  # trial 1 has two epochs left, so this is the second of trial 2
    driver = one.start()
    one.paused()
    send(driver, signal.SIGINT)
    one.go()
    one.ended(driver, 130, STOP_SECONDS)
    one.no_orphans()
    assert [row["status"] for row in one.rows()] == ["completed", "paused"]
    assert "trial 1 goes on after epoch 1" in one.output()

    one.pause_at("trainer.run.loop:optimizer_step:3")
    driver = one.start()
    one.paused()
    ctrl_c_until_it_ends(driver)
    # At once, though the slot is held and cannot reach its next step; a third Ctrl-C may meet Python's own end.
    assert driver.wait(15.0) in (130, -signal.SIGINT)
    one.no_orphans()

    damage(one.trial(2) / "checkpoints" / "last.pth")
    one.run()
    one.same_as(oracle, promoted=True)
    assert [row["retries"] for row in one.rows()] == ["0"] * 6
    assert one.trained_again() <= 1, "only what the damaged checkpoint held, and what the second Ctrl-C cut"


def ctrl_c_until_it_ends(driver: subprocess.Popen[str]) -> None:
    """Ctrl-C as an impatient person gives it: two that come together may count as one."""
    for _ in range(10):
        send(driver, signal.SIGINT)
        time.sleep(0.5)
        if driver.poll() is not None:
            return


@pytest.mark.slow
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(box: NewBox, oracle: StudyBox) -> None:
    """One turned bit; `test_stopped_three_ways_and_carried_on` cuts a file in half."""
    one = box()
    one.killed_at("trainer.run.loop:evaluate:3")
    damage(one.trial(1) / "checkpoints" / "last.pth", "one bit")
    one.run()
    one.same_as(oracle)
    log = (one.trial(1) / "log.txt").read_text(encoding="utf-8")
    assert "warning: " in log
    assert "last.pth: damaged" in log or "last.pth: has no checksum: damaged" in log
    assert "previous.pth (epoch" in log


@pytest.mark.slow
def test_two_damaged_checkpoints_fail_the_trial_rather_than_start_it_again(box: NewBox) -> None:
    one = box(SMALL | {"trials": TRIALS[:2]})
    one.killed_at("trainer.run.loop:evaluate:3")
    for name in ("last.pth", "previous.pth"):
        damage(one.trial(1) / "checkpoints" / name, "truncated")
    one.run()
    row, other = one.rows()
    assert row["status"] == "failed"
    assert "damaged" in row["reason"]
    assert row["epochs"] == "2"
    assert other["status"] == "completed"
    assert (one.trial(1) / "log.txt").read_text(encoding="utf-8").count("epoch 1:") == 1


def told_to_end_at(one: StudyBox, moment: str) -> None:
    one.pause_at(moment)
    driver = one.start()
    slot = psutil.Process(one.paused())
    send(slot, signal.SIGTERM)
    one.go()
    wait_for(lambda: not slot.is_running() or slot.status() == psutil.STATUS_ZOMBIE, "the slot's end")
    one.ended(driver, 0)


@pytest.mark.slow
def test_a_slot_told_to_end_is_no_failure(box: NewBox, oracle: StudyBox) -> None:
    """SIGTERM to the slot alone, in an evaluation: its slice still ends, and the next one must not be lost."""
    one = box()
    told_to_end_at(one, "trainer.run.loop:evaluate:2")
    one.same_as(oracle)
    assert [row["retries"] for row in one.rows()] == ["0"] * 6
    assert one.trained_again() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        "trainer.run.loop:optimizer_step:9",
        "trainer.run.writer:rotate_and_save:3",
        "trainer.run.run:check_same:1",
        "torch:manual_seed:1",
    ],
)
def test_a_slot_told_to_end_at_any_moment_is_no_failure(box: NewBox, oracle: StudyBox, moment: str) -> None:
    one = box()
    if "check_same" in moment:  # called where a run goes on from a checkpoint
        one.killed_at("trainer.run.loop:evaluate:2")
    told_to_end_at(one, moment)
    one.same_as(oracle)
    assert [row["retries"] for row in one.rows()] == ["0"] * 6
    assert one.trained_again() == 0


@pytest.mark.slow
def test_everyone_told_to_end_together(box: NewBox, oracle: StudyBox) -> None:
    """As a service manager does it: SIGTERM to the driver and to every process below it."""
    one = box({**SMALL, "trials": TRIALS[:2]}, "data.num_workers=1", "data.cache_gb=0")
    driver = one.start()
    one.said("trial 1 epoch 2/3")
    family = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    assert len(family) > 2
    for process in family:
        with suppress(ProcessLookupError):  # a loading process may have come to its end
            send(process, signal.SIGTERM)
    one.ended(driver, 143, STOP_SECONDS)
    one.no_orphans()
    one.run()
    one.same_first_trials(oracle)
    assert [row["retries"] for row in one.rows()] == ["0", "0"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "number"),
    [(0.2, signal.SIGTERM), (1.0, signal.SIGINT), (3.0, signal.SIGTERM)],
)
def test_stopped_while_it_starts(box: NewBox, oracle: StudyBox, seconds: float, number: int) -> None:
    one = box()
    driver = one.start()
    with pytest.raises(subprocess.TimeoutExpired):
        driver.wait(seconds)
    send(driver, number)
    assert driver.wait(STOP_SECONDS) in (128 + number, -number)
    one.no_orphans()
    one.run()
    one.same_as(oracle)


@pytest.mark.slow
def test_a_stop_in_promotion_continues_the_full_run(box: NewBox, oracle: StudyBox) -> None:
    one = box(SMALL, "--promote", "1")
    one.pause_at(oracle.full_evaluation(2))
    driver = one.start()
    one.paused()
    send(driver, signal.SIGTERM)
    one.go()
    one.ended(driver, 143, STOP_SECONDS)
    one.run()
    one.same_as(oracle, promoted=True)
    assert one.trained_again() == 0
