"""SIGKILL of the driver and of slots: the same command again gives the table of the undisturbed run."""

from __future__ import annotations

import random
import signal
import time

import psutil
import pytest
from fault_parts import OVERRIDES, SMALL, TRIALS, NewBox, StudyBox, send, wait_for

LONGER = {
    "overrides": OVERRIDES,
    "budget": {"epochs": 4, "subset": 30},
    "search": {"pruner": {"name": "median", "n_startup_trials": 3}},
    "trials": [{"training.optimizer.lr": rate} for rate in (0.01, 0.003, 0.005, 0.02, 0.002, 0.001, 0.007, 0.003)],
}

STALL = "8s"  # more than the longest silence of a slot that works


def kill_at_random(box: StudyBox, kills: int, seed: int) -> int:
    """Kills the driver again and again, each time after a random piece of work; returns how often it was alive."""
    rng = random.Random(seed)
    killed = 0
    for _ in range(kills):
        before = len(box.output())
        driver = box.start()
        lines = rng.choice((0, 0, 1, 1, 2))
        if lines:
            wait_for(
                lambda lines=lines, before=before, driver=driver: (
                    box.output()[before:].count(" epoch ") >= lines or driver.poll() is not None
                ),
                "some epochs",
            )
        time.sleep(rng.uniform(0.0, 0.4) if lines else rng.uniform(0.5, 5.0))
        if driver.poll() is None:
            send(driver, signal.SIGKILL)
            killed += 1
        driver.wait(30)
        box.no_orphans()
    return killed


@pytest.mark.slow
def test_a_killed_driver_loses_nothing(box: NewBox, oracle: StudyBox) -> None:
    one = box(SMALL, "--promote", "1")
    killed = kill_at_random(one, 2, seed=11)
    one.run()
    one.same_as(oracle, promoted=True)
    assert one.trained_again() <= killed, "lost work is at most one slice for each kill"
    assert one.no_orphans() is None


@pytest.mark.release
@pytest.mark.timeout(900)
def test_twenty_kills_lose_nothing(box: NewBox) -> None:
    undisturbed = box(LONGER, "--promote", "2", "--promote-seeds", "2", folder="undisturbed")
    undisturbed.run()
    one = box(LONGER, "--promote", "2", "--promote-seeds", "2", folder="killed")
    killed = kill_at_random(one, 20, seed=2)
    one.run()
    one.same_as(undisturbed, promoted=True)
    assert one.trained_again() <= killed
    one.no_orphans()


@pytest.mark.slow
def test_what_a_slot_did_while_its_driver_died_is_recorded_once(box: NewBox, oracle: StudyBox) -> None:
    """Killed between “slice done” and “recorded”: the driver sleeps while the slot finishes, then dies."""
    one = box()
    one.pause_at("trainer.run.loop:evaluate:2")
    driver = one.start()
    one.paused()
    send(driver, signal.SIGSTOP)
    one.go()
    one.evaluated(1, 2)
    send(driver, signal.SIGKILL)
    driver.wait(30)
    one.no_orphans()
    assert "trial 1 epoch 2/3" not in one.output()
    said = one.run()
    assert said.count("trial 1 epoch 2/3") == 1
    one.same_as(oracle)
    assert one.trained_again() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        "orchestrator.storage.optuna_study:OptunaStudy.add:6:after",  # a duplicate without its result
        "orchestrator.output.best:crown:1",
    ],
)
def test_a_driver_killed_at_a_step_of_its_own(box: NewBox, oracle: StudyBox, moment: str) -> None:
    """Every write of a driver is tried in one process, in `test_driver_ladder.py`; here a real process ends."""
    one = box(SMALL, "--promote", "1")
    one.pause_at(moment)
    driver = one.start()
    assert one.paused() == driver.pid
    send(driver, signal.SIGKILL)
    driver.wait(30)
    one.no_orphans()
    one.run()
    one.same_as(oracle, promoted=True)
    assert one.trained_again() <= 1
    assert not one.trial(6).exists(), "a duplicate is never trained"


@pytest.mark.slow
def test_a_slot_killed_in_a_checkpoint_write_goes_on(box: NewBox, oracle: StudyBox) -> None:
    one = box()
    one.pause_at("trainer.checkpoints.files:_digest:2")
    driver = one.start()
    victim = psutil.Process(one.paused())
    assert list(one.trial(1).glob("checkpoints/.last.pth.*")), "the new checkpoint is half written"
    assert psutil.Process(driver.pid) in victim.parents()
    send(victim, signal.SIGKILL)
    one.said("goes on from its checkpoint (retry 1 of 2)", seconds=5.0)
    one.ended(driver, 0)
    one.same_as(oracle)
    assert [row["retries"] for row in one.rows()] == ["1", "0", "0", "0", "0", "0"]
    assert not list(one.study.glob("trials/*/checkpoints/.*")), "what was half written is gone"


@pytest.mark.slow
def test_a_slot_killed_twice_in_one_trial_goes_on(box: NewBox, oracle: StudyBox) -> None:
    one = box()
    one.pause_at("trainer.learning.precision:optimizer_step:9", "trainer.run.loop:evaluate:2")
    driver = one.start()
    for time_of_death in range(2):
        send(psutil.Process(one.paused(time_of_death)), signal.SIGKILL)
        one.said(f"(retry {time_of_death + 1} of 2)", seconds=5.0)
    one.ended(driver, 0)
    one.same_as(oracle)
    assert [row["retries"] for row in one.rows()] == ["2", "0", "0", "0", "0", "0"]


THREE_MOMENTS = (
    "trainer.learning.precision:optimizer_step:1",
    "trainer.run.loop:evaluate:1",
    "trainer.run.writer:rotate_and_save:1",
)


@pytest.mark.slow
def test_a_slot_killed_three_times_fails_its_trial_and_not_the_study(box: NewBox) -> None:
    one = box(SMALL | {"trials": TRIALS[:3]})
    one.pause_at(*THREE_MOMENTS)
    driver = one.start()
    for time_of_death in range(3):
        send(psutil.Process(one.paused(time_of_death)), signal.SIGKILL)
    one.ended(driver, 0)
    rows = one.rows()
    assert [row["status"] for row in rows] == ["failed", "completed", "completed"]
    assert "(lost)" in rows[0]["reason"]
    assert "SIGKILL" in rows[0]["reason"]
    assert one.output().count("trial 1 lost") == 2, "and was tried again each time"


@pytest.mark.slow
def test_the_other_slot_is_undisturbed(box: NewBox) -> None:
    trials = [{"training.optimizer.lr": rate} for rate in (0.01, 0.003)]
    content = {**SMALL, "trials": trials, "search": {"pruner": "none"}}
    undisturbed = box(content, "--workers", "2", folder="undisturbed")
    undisturbed.run()
    one = box(content, "--workers", "2", folder="killed")
    one.pause_at("trainer.run.loop:evaluate:1")
    driver = one.start()
    victim = one.paused()
    send(psutil.Process(victim), signal.SIGKILL)
    one.go()
    one.ended(driver, 0)
    assert one.table() == undisturbed.table()
    assert one.metrics() == undisturbed.metrics()
    assert sorted(row["retries"] for row in one.rows()) == ["0", "1"]
    quiet = next(row for row in one.rows() if row["retries"] == "0")
    log = (one.trial(int(quiet["trial_id"])) / "log.txt").read_text(encoding="utf-8")
    assert log.count("device cpu") == 1, "it was never opened again"


@pytest.mark.slow
def test_a_hanging_slot_is_killed_with_its_children_and_tried_again(box: NewBox, oracle: StudyBox) -> None:
    content = {**SMALL, "trials": TRIALS[:2]}
    one = box(content, "data.num_workers=1", "data.cache_gb=0", "--stall-timeout", STALL)
    one.pause_at("trainer.run.loop:optimizer_step:3")  # in the second epoch of trial 1
    driver = one.start()
    slot = psutil.Process(one.paused())
    family = [slot, *slot.children(recursive=True)]
    assert len(family) > 1, "it has a loading process"
    send(slot, signal.SIGSTOP)
    one.go()
    said = f"trial 1 hung on slot 1: no progress for {STALL[:-1]} s; goes on from its checkpoint (retry 1 of 2)"
    one.said(said, seconds=60.0)
    _, alive = psutil.wait_procs(family, timeout=5.0)  # a killed process still has to be scheduled once to go
    assert not alive
    one.ended(driver, 0)
    one.same_first_trials(oracle)
    assert one.rows()[0]["retries"] == "1"


@pytest.mark.slow
def test_a_trial_that_always_hangs_fails_as_hung(box: NewBox) -> None:
    one = box({**SMALL, "trials": TRIALS[:2]}, "--stall-timeout", STALL)
    one.pause_at(*THREE_MOMENTS)
    driver = one.start()
    for time_of_hanging in range(3):
        send(psutil.Process(one.paused(time_of_hanging)), signal.SIGSTOP)
        enough = lambda n=time_of_hanging: one.output().count(f": no progress for {STALL[:-1]} s") > n  # noqa: E731
        wait_for(enough, "the hang noticed", 60.0)
    one.ended(driver, 0)
    rows = one.rows()
    assert rows[0]["status"] == "failed"
    assert f"failed (hung): no progress for {STALL[:-1]} s, 3 times" in rows[0]["reason"]
    assert rows[1]["status"] == "completed"
    one.no_orphans()
