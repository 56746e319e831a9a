"""The worker's loop in this process: slices in, events out, with a real trainer behind it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from orchestrator_parts import LR, tiny_plan

from orchestrator.engine.ledger import Ledger
from orchestrator.engine.reopen import reopen_failed
from orchestrator.engine.search_stage import SearchStage
from orchestrator.engine.watcher import Watchers
from orchestrator.slots.slot import Beat, Ended, Evaluated, Event, Failed, Slice, Started
from orchestrator.slots.worker import LEFT, REST, STOP, Worker
from orchestrator.storage.opening import open_search
from orchestrator.storage.store import memory_store
from orchestrator.study.plan import Plan

EXPLODING = {
    LR: 1e30,
    "training.grad_clip": 0.0,
    "training.optimizer.type": "sgd",
    "training.scheduler.warmup_fraction": 0.0,
}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return tiny_plan(tmp_path, [0.01, 0.003])


def work(plan: Plan, number: int = 0, until: int = 1, known: int = 0, **own: Any) -> Slice:
    folder = plan.folder / "trials" / f"{number + 1:04d}"
    folder.mkdir(parents=True, exist_ok=True)
    keys = {"checkpoint.dir": str(folder / "checkpoints"), "logging.dir": str(folder), **own}
    config = plan.search_config({**plan.trials[number], **keys}, plan.top).plain()
    return Slice(str(folder), number, config, 1, until, known, str(folder / "log.txt"))


class Desk:
    """A worker and what it sent."""

    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.worker = Worker(self.sent.append)

    def run(self, slice_: Slice) -> list[Event]:
        """What the worker says to one slice, without its beats."""
        self.sent.clear()
        self.worker.run(slice_)
        return [event for event in self.sent if not isinstance(event, Beat)]


def epochs(events: list[Event]) -> list[int]:
    return [event.evaluation.epoch for event in events if isinstance(event, Evaluated)]


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def ended(events: list[Event]) -> Ended:
    assert isinstance(events[-1], Ended)
    return events[-1]


def test_a_slice_from_start_to_end(plan: Plan) -> None:
    desk = Desk()
    events = desk.run(work(plan, until=2))
    assert kinds(events) == ["Started", "Evaluated", "Evaluated", "Ended"]
    assert epochs(events) == [1, 2]
    outcome = ended(events).outcome
    assert (outcome.ending, outcome.epoch, outcome.device) == ("reached", 2, "cpu")
    assert Path(outcome.checkpoint).is_file()
    assert any(isinstance(event, Beat) for event in desk.sent)
    log = (plan.folder / "trials" / "0001" / "log.txt").read_text()
    assert "epoch 1: " in log
    assert "bleu" in log


def test_going_on_reloads_nothing_and_says_nothing_twice(plan: Plan) -> None:
    desk = Desk()
    desk.run(work(plan, until=1))
    held = desk.worker.held
    events = desk.run(work(plan, until=3, known=1))
    assert desk.worker.held is held
    assert epochs(events) == [2, 3]
    assert ended(events).outcome.ending == "finished"


def test_a_slice_that_is_done_already_is_reported_at_once(plan: Plan) -> None:
    first = Desk().run(work(plan, until=2))
    again = Desk().run(work(plan, until=2))
    assert [e for e in again if isinstance(e, Evaluated)] == [e for e in first if isinstance(e, Evaluated)]
    assert ended(again).outcome.evaluations == ended(first).outcome.evaluations
    partly = Desk().run(work(plan, until=2, known=1))
    assert epochs(partly) == [2]


@pytest.mark.slow
def test_another_process_goes_on_from_the_checkpoint_to_the_same_end(plan: Plan) -> None:
    straight = ended(Desk().run(work(plan, 0, until=3))).outcome
    changing = Desk()
    for until in (1, 2, 3):
        desk = Desk() if until == 2 else changing
        events = desk.run(work(plan, 1, until=until, known=until - 1, **{LR: 0.01}))
    values = [(e.epoch, e.metrics) for e in ended(events).outcome.evaluations]
    assert values == [(e.epoch, e.metrics) for e in straight.evaluations]


def test_another_trial_takes_the_place_of_the_last(plan: Plan) -> None:
    desk = Desk()
    desk.run(work(plan, 0))
    assert epochs(desk.run(work(plan, 1))) == [1]
    assert desk.worker.held_name.endswith("0002")


def test_a_stop_ends_the_slice_at_its_next_step(plan: Plan) -> None:
    desk = Desk()
    desk.worker.stop.set()
    events = desk.run(work(plan, until=3))
    assert ended(events).outcome.ending == "interrupted"
    assert ended(events).outcome.epoch == 0
    desk.worker.stop.clear()
    assert epochs(desk.run(work(plan, until=3))) == [1, 2, 3]


@pytest.mark.parametrize(("word", "epoch"), [(STOP, 0), (REST, 1)])
def test_a_word_is_for_the_slice_before_it(plan: Plan, word: str, epoch: int) -> None:
    """Also where it comes before the thread that trains has left the slice before, or taken this one."""
    forgotten, heard = Desk(), Desk()
    for desk, words in ((forgotten, [word, work(plan, 0)]), (heard, [work(plan, 0), word])):
        for message in (work(plan, 1), *words):
            desk.worker.hear(message)
        assert desk.worker.inbox.get() == work(plan, 1)
    outcome = ended(heard.run(work(plan, 1, until=3))).outcome
    assert (outcome.ending, outcome.epoch) == ("interrupted", epoch)
    assert epochs(forgotten.run(work(plan, 0, until=3))) == [1, 2, 3]


def test_a_word_to_end_holds_for_every_slice_that_comes_after_it(plan: Plan) -> None:
    desk = Desk()
    desk.worker.terminate()
    desk.worker.hear(work(plan, until=3))
    assert desk.worker.inbox.get() is None, "it ends before it takes another"
    assert desk.worker.stop.is_set()


def test_a_stop_while_a_cache_is_built_ends_the_process_at_once(plan: Plan) -> None:
    frozen = {"model.encoder_fine_tune": False}
    desk = Desk()
    desk.worker.stop.set()
    with pytest.raises(SystemExit) as left:
        desk.run(work(plan, **frozen))
    assert left.value.code == LEFT, "which is no fault of the slice"
    assert desk.sent == []
    assert epochs(Desk().run(work(plan, **frozen))) == [1]


@pytest.mark.parametrize(
    ("own", "kind", "words"),
    [
        (EXPLODING, "nan", "try a lower training.optimizer.lr"),
        ({"data.images_dir": "/nowhere", "data.caption_file": "/nowhere.csv"}, "data", "/nowhere.csv: no such cap"),
        ({"device": "cuda:99"}, "config", "cuda"),
    ],
    ids=["nan", "data", "config"],
)  # fmt: skip
def test_an_error_is_an_event_and_not_the_end(plan: Plan, own: dict[str, Any], kind: str, words: str) -> None:
    desk = Desk()
    events = desk.run(work(plan, 0, until=3, **own))
    failed = events[-1]
    assert isinstance(failed, Failed), events
    assert failed.kind == kind
    assert words in failed.line
    assert "\n" not in failed.line
    assert f"failed ({kind})" in (plan.folder / "trials" / "0001" / "log.txt").read_text()
    assert epochs(desk.run(work(plan, 1))) == [1]


def test_a_bug_is_an_event_with_its_traceback_in_the_log(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.run(work(plan, 1))

    def broken(*_: object) -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(desk.worker.held, "train", broken)
    events = desk.run(work(plan, 1, until=2, known=1))
    assert events[-1] == Failed(1, "code", "ZeroDivisionError: by")
    assert "Traceback" in (plan.folder / "trials" / "0002" / "log.txt").read_text()
    assert desk.worker.held is None


def test_a_damaged_checkpoint_is_said_and_the_one_before_it_used(plan: Plan) -> None:
    Desk().run(work(plan, until=2))
    last = plan.folder / "trials" / "0001" / "checkpoints" / "last.pth"
    last.write_bytes(last.read_bytes()[:1000])
    events = Desk().run(work(plan, until=3, known=2))
    assert epochs(events)[-1] == 3
    assert "warning" in (plan.folder / "trials" / "0001" / "log.txt").read_text()


def test_a_retried_trial_goes_on_from_the_failed_ones_checkpoint(plan: Plan) -> None:
    study = open_search(memory_store(), plan)
    stage = SearchStage(plan, study.load())
    ledger = Ledger(stage, study, Watchers())
    old = ledger.opens(0)
    assert old is not None
    plan.files.run(old).path.mkdir(parents=True)
    desk = Desk()
    desk.run(slice_of(stage, 0, until=2))
    ledger.fails(old, "lost", "the process died")
    assert reopen_failed(ledger) == 1
    events = desk.run(slice_of(stage, 1, until=3))
    assert kinds(events)[0] == "Started"
    assert epochs(events) == [1, 2, 3]  # the first two are told again, not trained again
    assert "continues from" in plan.files.run(stage.state.trials[1]).log.read_text()
    kept = plan.files.run(stage.state.trials[0]).metrics
    assert len(kept.read_text().splitlines()) == 2  # the failed trial's own record stays as it was


def slice_of(stage: SearchStage, number: int, until: int) -> Slice:
    """The slice that a driver would hand out."""
    trial = stage.state.trials[number]
    folder = stage.plan.files.run(trial)
    return Slice(str(folder.path), number, stage.config(trial), 1, until, 0, str(folder.log))


def test_events_are_plain_data(plan: Plan) -> None:
    desk = Desk()
    desk.run(work(plan, until=2))
    for event in desk.sent:
        assert pickle.loads(pickle.dumps(event)) == event
    assert isinstance(desk.sent[0], Started)
