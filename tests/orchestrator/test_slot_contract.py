"""What every slot does, shown on the real one (a process of its own) and on the tests' double.

One slot serves the whole module, as one serves a whole study: what a test leaves behind is the next one's start.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest
from orchestrator_parts import LR, FakeSlot, FakeSlots, Fault, World, tiny_plan

from orchestrator.slots.local import LocalSlot, LocalSlots, open_local_slots
from orchestrator.slots.machine import visible_gpus
from orchestrator.slots.slot import Ended, Evaluated, Event, Failed, Lost, Returned, Slice, Slots, Started
from orchestrator.slots.table import SLOTS, open_slots
from orchestrator.slots.worker import LEFT
from orchestrator.study.plan import Plan

PATIENCE_SECONDS = 120.0
CURVE = [float(n) for n in range(1, 200)]
GOOD, OTHER, BROKEN = 0.01, 0.02, 0.03


@dataclass
class Place:
    """A set of slots, and how slices for it are made."""

    slots: Slots
    plan: Plan
    world: World | None
    others: set[int]  # processes of this one that are none of the slots'

    @property
    def slot(self) -> Any:
        return self.slots.slots[0]

    def work(self, number: int, lr: float = GOOD, until: int = 1, known: int = 0, epochs: int = 3) -> Slice:
        folder = self.plan.folder / "trials" / f"{number + 1:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        own: dict[str, Any] = {"checkpoint.dir": str(folder / "checkpoints"), "logging.dir": str(folder)}
        if lr == BROKEN:
            own |= {"data.images_dir": str(folder / "none"), "data.caption_file": str(folder / "none.csv")}
        rung = replace(self.plan.top, epochs=epochs)
        config = replace(self.plan, rungs=(rung,)).search_config({LR: lr, **own}, rung).plain()
        return Slice(str(folder), number, config, 1, until, known, str(folder / "log.txt"))

    def until(self, done: Callable[[list[Event]], bool]) -> list[Event]:
        """Everything that the slot says up to what is waited for."""
        events: list[Event] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done(events):
            assert time.monotonic() < deadline, f"it said only {events}"
            self.slots.wait(0.2)
            events += self.slot.poll()
        return events

    def trained(self, number: int, lr: float = GOOD, until: int = 1) -> None:
        """Trains a run so far, where no test before has; workers may share a module's tests among them."""
        self.slot.submit(self.work(number, lr, until))
        assert isinstance(self.to_the_end()[-1], Ended)

    def to_the_end(self) -> list[Event]:
        return self.until(lambda events: any(isinstance(event, Ended | Failed | Lost) for event in events))


@pytest.fixture(scope="module", params=[*SLOTS, "fake"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp(request.param)
    plan = tiny_plan(folder, [GOOD])
    plan.folder.mkdir(parents=True)
    world = World({GOOD: CURVE, OTHER: CURVE}, {(BROKEN, 1): [Fault("data", "none.csv: no such caption file")] * 9})
    fake = request.param == "fake"
    others = {process.pid for process in psutil.Process().children(recursive=True)}
    slots: Slots = FakeSlots(world) if fake else open_slots(request.param, 1, 1, plan.files.slots_log, 1800.0)
    yield Place(slots, plan, world if fake else None, others)
    slots.close()


def evaluated(events: list[Event]) -> list[int]:
    return [event.evaluation.epoch for event in events if isinstance(event, Evaluated)]


def test_idle_it_says_nothing(place: Place) -> None:
    assert place.slot.busy_with is None
    assert list(place.slot.poll()) == []
    place.slot.stop()
    assert place.slot.busy_with is None


def test_a_slice_is_started_evaluated_and_ended(place: Place) -> None:
    place.slot.submit(place.work(0, until=2))
    assert place.slot.busy_with == 0
    assert place.slot.holds.endswith("0001")
    events = place.to_the_end()
    assert any(isinstance(event, Started) for event in events)
    assert evaluated(events) == [1, 2]
    assert {event.number for event in events} == {0}
    end = events[-1]
    assert isinstance(end, Ended)
    assert (end.outcome.ending, end.outcome.epoch) == ("reached", 2)
    assert end.outcome.evaluations[-1].metrics["val_loss"] > 0
    assert end.outcome.checkpoint.endswith("0001/checkpoints/last.pth")
    assert place.slot.busy_with is None
    assert list(place.slot.poll()) == []


def test_it_goes_on_warm_with_what_is_new(place: Place) -> None:
    place.trained(0, until=2)
    assert place.slot.holds.endswith("0001")
    place.slot.submit(place.work(0, until=3, known=2))
    events = place.to_the_end()
    assert evaluated(events) == [3]
    assert isinstance(events[-1], Ended)
    assert events[-1].outcome.ending == "finished"


def test_another_run_takes_its_place_and_the_first_is_told_again_from_its_checkpoint(place: Place) -> None:
    place.trained(0, until=3)
    place.slot.submit(place.work(1, OTHER))
    assert evaluated(place.to_the_end()) == [1]
    assert place.slot.holds.endswith("0002")
    place.slot.submit(place.work(0, until=3, known=1))
    assert evaluated(place.to_the_end()) == [2, 3]


def test_an_error_costs_the_slice_only(place: Place) -> None:
    place.trained(1, OTHER)
    place.slot.submit(place.work(2, BROKEN))
    failed = place.to_the_end()[-1]
    assert isinstance(failed, Failed)
    assert (failed.number, failed.kind) == (2, "data")
    assert "no such caption file" in failed.line
    assert place.slot.busy_with is None
    place.slot.submit(place.work(1, OTHER, until=2, known=1))
    assert evaluated(place.to_the_end()) == [2]


def test_a_stop_ends_the_slice_early_and_its_work_is_not_lost(place: Place) -> None:
    long = place.work(3, until=150, epochs=150)
    place.slot.submit(long)
    place.until(lambda events: len(evaluated(events)) >= 2)
    place.slot.stop()
    end = place.to_the_end()[-1]
    assert isinstance(end, Ended)
    assert end.outcome.ending == "interrupted"
    assert 2 <= end.outcome.epoch < 150
    done = end.outcome.epoch
    place.slot.submit(replace(long, until_epoch=done + 1, known_epoch=done))
    events = place.to_the_end()
    assert evaluated(events) == [done + 1]


def test_a_rest_ends_the_slice_with_its_epoch(place: Place) -> None:
    place.slot.submit(place.work(6, until=150, epochs=150))
    place.until(lambda events: len(evaluated(events)) >= 2)
    place.slot.rest()
    events = place.to_the_end()
    end = events[-1]
    assert isinstance(end, Ended)
    assert end.outcome.ending == "interrupted"
    assert end.outcome.epoch == len(end.outcome.evaluations) < 150
    assert end.outcome.step % end.outcome.epoch == 0, "in the middle of no epoch"


def test_a_kill_loses_the_slice_but_not_the_slot(place: Place) -> None:
    long = place.work(4, until=150, epochs=150)
    place.slot.submit(long)
    before = place.until(lambda events: len(evaluated(events)) >= 1)
    place.slot.kill("hung", "no progress for 5 s")
    lost = place.to_the_end()[-1]
    assert lost == Lost(4, "hung", "no progress for 5 s")
    assert place.slot.busy_with is None
    assert place.slot.holds == ""
    known = max(evaluated(before))
    place.slot.submit(replace(long, until_epoch=known + 1, known_epoch=known))
    assert known + 1 in evaluated(place.to_the_end())


def test_a_kill_of_an_idle_slot_loses_nothing(place: Place) -> None:
    place.slot.kill("lost", "for no reason")
    assert list(place.slot.poll()) == []
    place.slot.submit(place.work(5))
    assert evaluated(place.to_the_end()) == [1]


def test_closing_ends_everything(place: Place) -> None:
    place.slots.close()
    assert place.slot.busy_with is None
    assert list(place.slot.poll()) == []
    if place.world is None:
        left = [p for p in psutil.Process().children(recursive=True) if os.getpgid(p.pid) == p.pid]
        assert not [p for p in left if p.pid not in place.others]


# what only the local ones have


def test_gpus_without_cuda_being_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, found in (("", []), ("-1", []), ("0,2", ["0", "2"]), ("GPU-1a", ["GPU-1a"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
        assert visible_gpus() == found


def test_gpus_are_dealt_out_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalSlot, "start", lambda _: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    slots = open_local_slots(3, 2, tmp_path / "slots.log", 60.0)
    assert [(s.name, s.gpu, s.threads) for s in slots.slots] == [
        ("slot 1", "3", 2),
        ("slot 2", "5", 2),
        ("slot 3", "3", 2),
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [s.gpu for s in open_local_slots(2, 1, tmp_path / "slots.log", 60.0).slots] == [None, None]


def leaves_late(connection: Connection, _threads: int, _gpu: str | None, log_file: str) -> None:
    """A slot's process that lets go of its pipe well before its end, then another that takes its slice."""
    first = Path(log_file)
    if first.exists():
        connection.send(Started(connection.recv().number))
        connection.recv()  # its end
    first.touch()
    connection.close()
    first.with_suffix(".let_go").touch()
    time.sleep(2.0)
    sys.exit(LEFT)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before it is given a slice", "with a slice"])
def test_a_process_whose_end_shows_late_is_asked_for_its_status(tmp_path: Path, when: str) -> None:
    """Told to end, with its pipe closed and its status not there yet: no fault of the slice, which comes back."""
    slot = LocalSlot("slot 1", None, 1, tmp_path / "first", 1800.0)
    slot.process = leaves_late  # type: ignore[method-assign]
    work = Slice("run", 0, {}, 1, 1, 0, "")
    slot.start()
    if when == "with a slice":
        slot.submit(work)
    while not (tmp_path / "first.let_go").exists():
        time.sleep(0.01)
    if when != "with a slice":
        slot.submit(work)
    slot.rest()  # a word to it is no fault either
    assert _first_events(slot) == [Returned(0)]
    slot.submit(work)  # a new process takes it
    assert _first_events(slot) == [Started(0)]
    slot.kill("lost", "the test ends")
    slot.close()


def _first_events(slot: LocalSlot) -> list[Event]:
    events: list[Event] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not events and time.monotonic() < deadline:
        events += slot.poll()
        time.sleep(0.05)
    return events


def test_both_kinds_have_all_of_the_contract() -> None:
    for kind in (FakeSlot, LocalSlot):
        assert all(hasattr(kind, name) for name in ("busy_with", "submit", "poll", "rest", "stop", "kill", "close"))
    for kind in (FakeSlots, LocalSlots):
        assert all(hasattr(kind, name) for name in ("wait", "close"))
