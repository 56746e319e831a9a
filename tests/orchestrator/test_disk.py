"""Checkpoints of trials that are over, within the study's limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orchestrator_parts import evaluated

from orchestrator.engine.checkpoint_quota import CheckpointKeeper, checkpoint_bytes
from orchestrator.study.plan import Limits, Plan
from orchestrator.study.ranking import ranked
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING, TrialState

SIZE = 1000


def with_files(plan: Plan, number: int, status: str, value: float | None = None, size: int = SIZE) -> TrialState:
    folder = plan.folder / "trials" / f"{number + 1:04d}" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "last.pth").write_bytes(b"x" * size)
    trial = TrialState(number, number, {}, str(number), status, checkpoint=str(folder / "last.pth"))
    trial.results = {1: value} if value is not None and status == COMPLETED else {}
    return trial if value is None else evaluated(trial, {1: value})


def keeper(plan: Plan, files: float) -> CheckpointKeeper:
    """Room for so many files."""
    return CheckpointKeeper(replace(plan, limits=Limits(max_checkpoint_gb=files * SIZE / 1e9)))


def kept(plan: Plan) -> list[int]:
    return sorted(int(path.parts[-3]) - 1 for path in plan.folder.glob("trials/*/checkpoints/last.pth"))


@pytest.fixture
def plan(planned: Callable[..., Plan]) -> Plan:
    return planned([0.1])


def state(*trials: TrialState) -> StudyState:
    return StudyState({t.number: t for t in trials})


def test_the_worst_go_first_and_the_best_never(plan: Plan) -> None:
    found = state(
        with_files(plan, 0, COMPLETED, 5.0),
        with_files(plan, 1, COMPLETED, 9.0),
        with_files(plan, 2, PRUNED, 4.0),
        with_files(plan, 3, PRUNED, 1.0),
        with_files(plan, 4, FAILED, 3.0),
    )
    gone = []
    for room in (5, 4, 3, 2, 1, 0):
        gone.append([t.number for t in keeper(plan, room).trim(found)])
    assert gone == [[], [3], [2], [0], [4], []]
    assert kept(plan) == [1]
    assert [t.checkpoint != "" for t in found.in_order()] == [False, True, False, False, False]


def test_what_stands_between_rungs_is_never_deleted(plan: Plan) -> None:
    found = state(with_files(plan, 0, RUNNING, 1.0), with_files(plan, 1, PAUSED, 1.0), with_files(plan, 2, PRUNED, 2.0))
    assert [t.number for t in keeper(plan, 0).trim(found)] == [2]
    assert kept(plan) == [0, 1]


def test_of_those_that_rest_the_lowest_rung_and_the_worst_go_first_and_after_all_others(plan: Plan) -> None:
    done, failed = with_files(plan, 0, COMPLETED, 1.0), with_files(plan, 1, FAILED, 9.0)
    low, lower, high = (with_files(plan, n, PAUSED, value) for n, value in ((2, 6.0), (3, 4.0), (4, 2.0)))
    low.results, lower.results = {1: 6.0}, {1: 4.0}
    high.results, high.rung = {1: 1.0, 2: 2.0}, 2
    done.results, done.rung = {1: 1.0, 2: 1.0, 3: 1.0}, 3
    found = state(done, failed, low, lower, high)
    gone = [[t.number for t in keeper(plan, room).trim(found)] for room in (4, 3, 2, 1, 0)]
    assert gone == [[1], [3], [2], [4], []]
    assert kept(plan) == [0]


def test_for_a_loss_the_highest_is_the_worst(planned: Callable[..., Plan]) -> None:
    plan = planned([0.1], overrides={"data.scenes.images": 60, "metrics.bleu": False})
    found = state(
        with_files(plan, 0, COMPLETED, 5.0), with_files(plan, 1, COMPLETED, 2.0), with_files(plan, 2, PRUNED, 3.0)
    )
    assert [t.number for t in keeper(plan, 2).trim(found)] == [2]
    assert [t.number for t in keeper(plan, 1).trim(found)] == [0]


def test_a_duplicate_loses_the_name_of_what_is_gone(plan: Plan) -> None:
    first, best = with_files(plan, 0, PRUNED, 1.0), with_files(plan, 1, COMPLETED, 2.0)
    copy = TrialState(2, 2, {}, "0")
    copy.take_result(first)
    keeper(plan, 1).trim(state(first, best, copy))
    assert (first.checkpoint, copy.checkpoint) == ("", "")


def test_two_names_of_one_file_count_once(tmp_path: Path) -> None:
    one, two = tmp_path / "last.pth", tmp_path / "best.pth"
    one.write_bytes(b"x" * 70)
    two.hardlink_to(one)
    (tmp_path / "previous.pth").write_bytes(b"x" * 30)
    assert checkpoint_bytes(sorted(tmp_path.glob("*.pth"))) == 100


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from([COMPLETED, PRUNED, FAILED, PAUSED]), st.integers(0, 9), st.integers(0, 3)),
        max_size=6,
    ),
    st.integers(0, 6),
)
def test_the_limit_holds_wherever_it_can(plan: Plan, rows: list[tuple[str, int, int]], room: int) -> None:
    trials = [with_files(plan, n, status, value, size * SIZE) for n, (status, value, size) in enumerate(rows)]
    found = state(*trials)
    gone = keeper(plan, room).trim(found)
    assert not any(t.status == PAUSED for t in gone)
    best = ranked(found, plan.metric)[:1]
    assert not any(t in gone for t in best)
    over = [t for t in trials if t.is_final and t not in gone]
    left = sum(rows[t.number][2] for t in over)
    assert left <= room or [t for t in over if t not in best] == []
    assert all(t.checkpoint == "" for t in gone)
    again = keeper(plan, room).trim(found)
    assert again == []
    for path in plan.folder.glob("trials/*/checkpoints/*"):
        path.unlink()
