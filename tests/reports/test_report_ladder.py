"""Rungs, agreement, cost and slots: the numbers behind the sections that a ladder has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_reader import drawn, section_text
from report_records import BLEU

from reports.figures_rungs import rank_scatter, rung_flow
from reports.figures_slots import merged_blocks, slot_gantt
from reports.figures_time import history_over_time
from reports.record import Evaluation, Rung, StudyRecord, Trial, Wasted
from reports.rungs import comparable, values_by_rung
from reports.slot_time import slot_intervals, time_shares, work_blocks
from reports.spending import Spent, by_rung, by_status, saved

RUNGS = (Rung("1 epoch, 100 images @48", 1, 100), Rung("3 epochs, 200 images @48", 3, 200))


def point(
    trial_id: int, epoch: int, rung: int, value: float, ended: float | None = None, slot: str = "a"
) -> Evaluation:
    return Evaluation(trial_id, epoch, epoch, rung, 10.0, {"bleu": value}, "", slot if ended is not None else "", ended)


@pytest.fixture
def small() -> StudyRecord:
    """Three trials: one through both rungs, one that rests on the first, one that failed; and a copy."""
    trials = [
        Trial(1, "completed", {}, value=9.0, epochs=3, rung=2, seconds=30.0),
        Trial(2, "paused", {}, value=4.0, epochs=1, rung=1, seconds=10.0),
        Trial(3, "failed", {}, epochs=1, rung=1, seconds=5.0, retries=1),
        Trial(4, "completed", {}, value=9.0, rung=2, duplicate_of=1),
    ]
    points = [
        point(1, 1, 1, 5.0, 10.0), point(1, 2, 2, 7.0, 30.0), point(1, 3, 2, 9.0, 40.0),
        point(2, 1, 1, 4.0, 20.0, "b"), point(3, 1, 1, 6.0, 20.0),
    ]  # fmt: skip
    return StudyRecord("s", "c", BLEU, rungs=RUNGS, epochs_per_trial=3, trials=trials, evaluations=points)


def test_a_trials_value_on_a_rung_is_its_last_there(small: StudyRecord) -> None:
    assert values_by_rung(small) == {1: {1: 5.0, 2: 4.0, 3: 6.0}, 2: {1: 9.0}}
    assert comparable(small, 2) == (1, {1: 5.0, 2: 4.0})
    assert comparable(small, 1) == (2, {1: 9.0})
    assert comparable(replace(small, evaluations=()), 2) == (1, {})


def test_what_was_spent_and_saved(small: StudyRecord) -> None:
    assert by_status(small) == {
        "completed": Spent(1, 3, 500, 30.0),
        "failed": Spent(1, 1, 100, 5.0),
        "paused": Spent(1, 1, 100, 10.0),
    }
    assert by_rung(small) == {1: Spent(3, 3, 300, 30.0), 2: Spent(1, 2, 400, 20.0)}
    assert saved(small) == Spent(1, 2, 400, 20.0), "neither the failed trial nor the copy"
    unmeasured = replace(small, evaluations=[e for e in small.evaluations if e.rung == 1])
    assert saved(unmeasured).seconds is None
    assert "29% of the epochs were saved" in section_text("cost", small)


def test_where_the_slots_were(small: StudyRecord) -> None:
    intervals = slot_intervals(small)
    assert [(w.slot, w.trial_id, w.rung, w.begin, w.end) for w in work_blocks(intervals)] == [
        ("a", 1, 1, 0.0, 10.0),
        ("a", 3, 1, 10.0, 20.0),
        ("a", 1, 2, 20.0, 40.0),
        ("b", 2, 1, 10.0, 20.0),
    ]
    assert {one.kind for one in intervals} == {"training"}, "all that a study knows which kept no more"
    by_slot = time_shares(intervals)
    assert (by_slot["a"]["training"], by_slot["b"]["training"], by_slot["b"]["idle"]) == (1.0, 0.25, 0.75)
    assert (
        "2 slots trained or evaluated for 62% of 40 s (the rest: idle 38%). After a lost process, 1 slice continued"
        in section_text("slots", small)
    )
    assert drawn("slots", replace(small, evaluations=[replace(e, slot="") for e in small.evaluations])) is None


def test_a_slots_time_is_split_by_what_it_went_into(small: StudyRecord) -> None:
    whole = Evaluation(1, 1, 1, 1, 10.0, {"bleu": 1.0}, "", "a", 20.0, 4.0, 3.0, 2.0)
    lost = [Wasted("a", 2, 18.0, 30.0, "lost"), Wasted("b", 2, 0.0, 10.0, "hung")]
    record = replace(small, evaluations=[whole], wasted=lost)
    intervals = slot_intervals(record)
    assert [(one.slot, one.kind, one.begin, one.end) for one in intervals] == [
        ("a", "opening", 4.0, 8.0),
        ("a", "training", 8.0, 15.0),
        ("a", "evaluation", 15.0, 18.0),
        ("a", "checkpoint", 18.0, 20.0),
        ("a", "lost", 20.0, 30.0),
        ("b", "lost", 0.0, 10.0),
    ]
    part = time_shares(intervals)["a"]
    assert sum(part.values()) == pytest.approx(1.0)
    assert part["idle"] == pytest.approx(4.0 / 30.0)
    names = [trace.name for trace in slot_gantt(record, intervals).data]
    assert names[:2] == ["idle", "rung 1"]
    assert names[2:6] == ["opening", "evaluation", "checkpoint", "lost"]
    assert (
        "trained or evaluated for 17% of 30 s (the rest: waiting for checkpoints 3%, opening trials 7%"
        in section_text("slots", record)
    )


def test_what_is_told_again_from_a_checkpoint_overlaps_nothing() -> None:
    points = [point(1, epoch, 1, 1.0, 100.0) for epoch in (1, 2, 3)] + [point(2, 1, 1, 1.0, 300.0, "a 10")]
    record = StudyRecord("s", "c", BLEU, trials=[Trial(1, "running", {})], evaluations=points)
    assert [(w.begin, w.end) for w in work_blocks(slot_intervals(record))] == [(90.0, 100.0), (290.0, 300.0)]


def test_very_many_pieces_of_work_are_drawn_as_fewer(small: StudyRecord) -> None:
    points = [point(n % 2 + 1, n, 1, 1.0, 10.0 * n, f"slot {n % 3}") for n in range(1, 9_001)]
    intervals = slot_intervals(replace(small, evaluations=points))
    drawn_as = merged_blocks(work_blocks(intervals), 300)
    assert len(drawn_as) <= 303
    assert [w.slot for w in drawn_as] == sorted(w.slot for w in drawn_as)
    assert sum(len(trace.x) for trace in slot_gantt(small, intervals).data) <= 3_006


def test_the_flow_over_the_rungs(small: StudyRecord) -> None:
    (trace,) = rung_flow(small).data
    assert list(trace.node.label) == ["rung 1: 3 trials", "rung 2: 1", "1 failed", "1 paused", "1 completed"]
    assert list(zip(trace.link.source, trace.link.target, trace.link.value, strict=True)) == [
        (0, 1, 1), (0, 2, 1), (0, 3, 1), (1, 4, 1),
    ]  # fmt: skip
    assert drawn("funnel", replace(small, rungs=RUNGS[:1], trials=small.trials[1:3])) is None


def test_a_rung_that_the_study_does_not_have_is_its_last(small: StudyRecord) -> None:
    record = replace(small, evaluations=[*small.evaluations, point(2, 2, 99, 5.0)])
    (trace,) = rung_flow(record).data
    assert list(trace.node.label) == ["rung 1: 3 trials", "rung 2: 2", "1 failed", "1 completed", "1 paused"]
    assert list(trace.link.target) == [1, 2, 3, 4]


def test_paused_trials_that_continued_are_counted(ladder: StudyRecord) -> None:
    assert "1 paused trial continued later" in section_text("funnel", ladder)


def test_ranks_begin_with_the_best(small: StudyRecord) -> None:
    lower, upper = {1: 5.0, 2: 4.0, 3: 6.0}, {1: 1.0, 2: 3.0, 3: 2.0}
    _, marks = rank_scatter(small, lower, upper, ("rung 1", "rung 2")).data
    assert list(zip(marks.text, marks.x, marks.y, strict=True)) == [
        ("trial 1", 2, 3),
        ("trial 2", 3, 1),
        ("trial 3", 1, 2),
    ]


def test_agreement_says_how_it_was_corrected_and_what_is_poor(ladder: StudyRecord) -> None:
    text = section_text("agreement", ladder)
    assert "among them τ is too low" in text
    assert "rung 1 → rung 2" in text
    assert "weighted by the probability of being chosen at random to continue" in text
    assert "rung 1 does not predict rung 2" in text
    assert "rung 2 does not predict rung 3" not in text
    assert "Audit: 3 trials" in text
    assert "1 of them ended better than the best" in text
    assert drawn("agreement", replace(ladder, agreements=(), audit=None)) is None


def test_the_choice_is_shown_with_its_uncertainty(ladder: StudyRecord) -> None:
    assert "a clear winner" in section_text("promoted", ladder)
    choice = ladder.choice
    assert choice is not None
    assert "a tie" in section_text("promoted", replace(ladder, choice=replace(choice, tie=True)))
    assert "whether that is chance" in section_text("promoted", replace(ladder, choice=replace(choice, tie=None)))
    assert (
        "between seeds of one configuration is 0.8: smaller differences, anywhere in this report, mean nothing"
        in section_text("promoted", ladder)
    )
    assert "31.4 ≈" not in section_text("promoted", ladder), "the choice is not marked as like itself"
    other = [replace(run, trial_id=99, value=30.2) if run.status == "failed" else run for run in ladder.full_runs]
    near = [replace(run, status="completed") for run in other]
    assert "30.2 ≈" in section_text("promoted", replace(ladder, full_runs=near))


def test_the_history_over_time(small: StudyRecord) -> None:
    traces = {trace.name: trace for trace in history_over_time(small).data}
    assert list(traces["best so far"].x) == [40.0, 40.0]
    assert list(traces["paused"].x) == [20.0]
    long = [replace(e, ended_at=(e.ended_at or 0.0) * 1_000) for e in small.evaluations]
    assert history_over_time(replace(small, evaluations=long)).layout.xaxis.title.text == "hours of study time"
