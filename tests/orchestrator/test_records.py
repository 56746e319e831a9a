"""Plan and state → the record that reports and notebooks read."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from orchestrator_parts import LR, Bench, Fault

from orchestrator.engine.full_stage import Promotion
from orchestrator.results.next_steps import cost_words
from orchestrator.results.record import build_record, table_record, trial_rows
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState
from orchestrator.study.text import duration
from orchestrator.study.trial import RUNNING, TrialState
from reports.record import STATUSES
from reports.tables import columns, trials_frame

A, B, C, D = 0.1, 0.2, 0.3, 0.4
RISING = (10.0, 30.0, 20.0)


@pytest.fixture
def done(bench: Callable[..., Bench]) -> Bench:
    """Two completed, a pruned, a failed, a copy, and a full run."""
    curves = {A: [*RISING, 1.0, 1.0, 2.0], B: (20.0, 30.0, 40.0), C: (1.0, 2.0, 3.0), D: (9.0, 9.0, 9.0)}
    faults = {(D, 1): [Fault("nan", "the loss is nan")]}
    search = {"pruner": {"name": "median", "n_startup_trials": 2}}
    b = bench(curves, {"faults": faults}, search=search, listed=[A, B, C, D, {LR: A}])
    b.search()
    b.full([Promotion(1, 0, {LR: A})])
    return b


def test_every_trial_is_a_row(done: Bench) -> None:
    rows = trial_rows(done.plan, done.rebuilt())
    assert [r.status for r in rows] == ["completed", "completed", "pruned", "failed", "completed"]
    assert set(STATUSES) >= {r.status for r in rows}
    first, copy = rows[0], rows[4]
    assert (first.trial_id, first.value, first.best, first.loss, first.epochs, first.seconds) == (1, 20, 30, 80, 3, 30)
    assert first.checkpoint == "trials/0001/checkpoints/last.pth"
    assert (first.folder, copy.folder) == ("trials/0001", "")
    assert first.rung_words == "3 epochs, 30 images @32"
    assert (copy.duplicate_of, copy.epochs, copy.seconds, copy.value, copy.best) == (1, 0, 0.0, 20.0, 30.0)
    assert (rows[3].value, rows[3].failure_kind, rows[3].failure_line) == (None, "nan", "the loss is nan")
    assert [r.params for r in rows] == [{LR: lr} for lr in (A, B, C, D, A)]


def test_what_a_trial_does_not_set_is_the_bases(planned: Callable[..., Plan]) -> None:
    plan = planned([{LR: A}, {"model.dropout": 0.5}])
    state = StudyState({n: TrialState(n, n, plan.trials[n], "", RUNNING) for n in range(2)})
    rows = trial_rows(plan, state)
    assert [r.params for r in rows] == [{LR: A, "model.dropout": 0.1}, {LR: 0.002, "model.dropout": 0.5}]


def test_the_tables_columns(done: Bench) -> None:
    record = table_record(done.plan, done.rebuilt())
    assert columns(record) == [
        "trial_id", "status", "final_bleu", "final_loss", f"param_{LR}", "best_bleu",
        "epochs", "rung", "seconds", "reason", "duplicate_of", "retries", "checkpoint",
    ]  # fmt: skip
    assert list(trials_frame(record)["final_bleu"][:2]) == [20.0, 40.0]


def test_a_whole_record(done: Bench) -> None:
    search, full = done.rebuilt(), done.state
    record = build_record(done.plan, search, full, in_progress=False)
    assert (record.name, record.task, record.metric.label, record.planned_trials) == ("tiny", "captioning", "BLEU", 5)
    assert record.parameters == (LR,)
    assert record.log_parameters == [LR]
    assert [d.sequence for d in sorted(record.decisions, key=lambda d: d.sequence)] == [1, 2, 3, 4, 5]
    curve = [(e.epoch, e.metrics["bleu"], e.metrics["val_loss"]) for e in record.evaluations if e.trial_id == 2]
    assert curve == [(1, 20.0, 80.0), (2, 30.0, 70.0), (3, 40.0, 60.0)]
    assert [e.epoch for e in record.evaluations if e.run == "full/0001-seed0"] == [1, 2, 3, 4, 5, 6]
    assert not any(e.trial_id == 5 for e in record.evaluations)
    run = record.full_runs[0]
    assert (run.trial_id, run.seed_index, run.status, run.epochs, run.total_epochs, run.folder) == (
        1, 0, "completed", 6, 6, "full/0001-seed0",
    )  # fmt: skip
    assert record.searched["pruner"] == "median, n_startup_trials 2, n_warmup_steps 0"


def test_what_only_the_folder_holds_is_added(done: Bench) -> None:
    folder = done.plan.folder / "trials" / "0001"
    line = {"epoch": 1, "step": 7, "rung": 1, "seconds": 2.5, "metrics": {"train_loss": 3.5, "bleu": 999.0}}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n" + '{"epoch": 2, "st')
    (folder / "samples").mkdir()
    sample = {"image": "/data/3.jpg", "references": ["a b"], "predictions": ["c"]}
    (folder / "samples" / "last.json").write_text(json.dumps({"epoch": 1, "samples": [sample]}))
    (done.plan.folder / "environment.json").write_text('{"python": "3.12", "cores": 2}')
    record = build_record(done.plan, done.rebuilt(), None, in_progress=True)
    first = record.evaluations[0]
    assert (first.step, first.seconds, first.metrics["train_loss"]) == (7, 2.5, 3.5)
    assert first.metrics["bleu"] == 10.0  # the study's value is the truth
    assert [(s.trial_id, s.image.name, s.references, s.predictions) for s in record.samples] == [
        (1, "3.jpg", ("a b",), ("c",))
    ]
    assert record.environment == {"python": "3.12", "cores": "2"}
    assert record.in_progress


def test_an_evaluation_says_where_and_when_it_was_made(bench: Callable[..., Bench]) -> None:
    b = bench({A: RISING, B: RISING}, workers=2)
    b.search()
    points = build_record(b.plan, b.rebuilt(), b.state, in_progress=False).evaluations
    search = [(e.trial_id, e.slot, e.ended_at) for e in points if not e.run]
    assert search == [(n, f"slot {n}", ended) for n in (1, 2) for ended in (10.0, 20.0, 30.0)]
    again = b.with_plan(n_trials=3, trials=[{LR: A}, {LR: B}, {LR: 0.3}])
    again.world.curves = {A: RISING, B: RISING, 0.3: RISING}
    again.search()
    later = build_record(again.plan, again.rebuilt(), None, in_progress=False).evaluations[-1]
    assert later.ended_at == 60.0, "the time between two calls is left out"


def test_the_rung_of_an_evaluation_is_known_without_its_file(bench: Callable[..., Bench]) -> None:
    curves = {A: (1.0, 2.0, 3.0), B: (2.0, 3.0, 4.0), C: (3.0, 4.0, 5.0)}
    b = bench(curves, search={"pruner": "halving"}, budget={}, ladder="1x10@32,3x30@32")
    b.search()
    record = build_record(b.plan, b.rebuilt(), None, in_progress=False)
    assert [(rung.words, rung.epochs, rung.images) for rung in record.rungs] == [
        ("1 epoch, 10 images @32", 1, 10),
        ("3 epochs, 30 images @32", 3, 30),
    ]
    assert [(e.epoch, e.rung) for e in record.evaluations if e.trial_id == 3] == [(1, 1), (2, 2), (3, 2)]


def test_an_empty_study_is_a_record_too(planned: Callable[..., Plan]) -> None:
    plan = planned([A])
    record = build_record(plan, StudyState(), None, in_progress=True)
    assert (list(record.trials), list(record.evaluations), list(record.samples)) == ([], [], [])
    assert cost_words(plan, 2) == "12 epochs at full budget"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (36000, "10.0 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
