"""What is known of trials, as plain data; and what failures mean."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from orchestrator_parts import evaluated

from orchestrator.engine.failures import LOST_RETRIES, SAME_FAILURES, SLOT_LOSSES, FailurePolicy
from orchestrator.study.ranking import best_value, ranked
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING, TrialState
from trainer.api import LOSS, Metric

BLEU = Metric("bleu", "BLEU", "maximize", 100.0)


def trial(
    number: int, status: str = COMPLETED, *values: float, losses: Mapping[int, float] | None = None, **more: object
) -> TrialState:
    found = TrialState(number, number, {}, f"key {number}", status)
    evaluated(found, dict(enumerate(values, start=1)), losses)
    for name, value in more.items():
        setattr(found, name, value)
    if status == COMPLETED and values and "results" not in more:
        found.results = {found.rung: values[-1]}
    return found


def state(*trials: TrialState) -> StudyState:
    return StudyState({t.number: t for t in trials})


def test_value_and_loss_are_those_of_the_last_evaluation() -> None:
    one = trial(6, RUNNING, 3.0, 9.0, 4.0, losses={1: 0.9, 2: 0.5, 3: 0.7})
    assert (one.trial_id, one.epochs, one.value, one.loss) == (7, 3, 4.0, 0.7)
    assert (best_value(one, BLEU), best_value(one, LOSS)) == (9.0, 3.0)


def test_a_trial_without_evaluations_has_neither() -> None:
    one = trial(0, RUNNING)
    assert (one.epochs, one.value, one.loss, best_value(one, BLEU)) == (0, None, None, None)


def test_final_statuses() -> None:
    assert [trial(0, s).is_final for s in (RUNNING, PAUSED, COMPLETED, PRUNED, FAILED)] == [
        False,
        False,
        True,
        True,
        True,
    ]


ranks = st.tuples(
    st.sampled_from([RUNNING, COMPLETED, PRUNED, FAILED, PAUSED]), st.floats(0, 100), st.booleans(), st.booleans()
)


@given(st.lists(ranks, max_size=8))
def test_trials_with_a_result_are_ranked_best_first(rows: list[tuple[str, float, bool, bool]]) -> None:
    found = state(
        *(
            trial(n, status, value, results={1: value} if at_rung else {}, eliminated=eliminated)
            for n, (status, value, at_rung, eliminated) in enumerate(rows)
        )
    )
    able = [value for status, value, at_rung, eliminated in rows if at_rung and not eliminated and status != FAILED]
    assert [t.value for t in ranked(found, BLEU)] == sorted(able, reverse=True)
    assert [t.value for t in ranked(found, LOSS)] == sorted(able)


def test_a_trial_between_rungs_ranks_by_the_last_rungs_result() -> None:
    climbing = trial(0, RUNNING, 5.0, 99.0, rung=2, results={1: 5.0})
    assert [t.number for t in ranked(state(climbing, trial(1, PAUSED, 6.0, results={1: 6.0})), BLEU)] == [1, 0]


def test_a_higher_rung_ranks_before_a_better_value_and_ties_go_by_number() -> None:
    found = state(trial(0, COMPLETED, 9.0), trial(1, COMPLETED, 2.0, rung=2), trial(2, COMPLETED, 9.0))
    assert [t.number for t in ranked(found, BLEU)] == [1, 0, 2]


def test_duplicates_are_not_ranked_and_cost_no_time() -> None:
    first = trial(0, COMPLETED, 5.0, seconds=7.0)
    copy = trial(1, RUNNING)
    copy.take_result(first)
    found = state(first, copy)
    assert (copy.origin, copy.status, copy.values, copy.seconds) == (0, COMPLETED, {1: 5.0}, 0.0)
    assert ranked(found, BLEU) == [first]
    assert found.slot_seconds() == 7.0
    evaluated(copy, {2: 1.0})
    assert first.values == {1: 5.0}


def test_the_original_of_a_configuration_is_the_retry_where_there_was_one() -> None:
    failed = trial(0, FAILED, config_key="same")
    other = trial(1, COMPLETED, 1.0, config_key="other")
    copy = trial(2, FAILED, config_key="same", origin=0)
    assert state(failed, other, copy).original("same") is failed
    retry = trial(3, COMPLETED, 4.0, config_key="same", retry_of=0)
    assert state(failed, other, copy, retry).original("same") is retry
    retry.status = RUNNING  # its copy follows it
    assert state(failed, other, copy, retry).original("same") is retry
    assert state(trial(0, COMPLETED, 1.0, config_key="")).original("") is None


def test_losses_before_a_retry_do_not_count() -> None:
    old = trial(0, FAILED, retries=2)
    new = trial(1, PAUSED, retries=3, retry_of=0)
    assert state(old, new).lost_before(new) == 0
    assert state(old, new).lost_before(old) == 2


def fails(policy: FailurePolicy, kind: str, line: str) -> str:
    return policy.give_up(kind, line, StudyState())


def test_three_telling_failures_in_a_row_with_the_same_words() -> None:
    for kind in ("code", "config", "data"):
        policy = FailurePolicy(10)
        said = [fails(policy, kind, "the same") for _ in range(SAME_FAILURES)]
        assert said[:-1] == ["", ""]
        assert said[-1] == "3 trials in a row failed in the same way: the same"


def test_what_breaks_the_row() -> None:
    for between in ("other words", "a good slice", "another kind"):
        policy = FailurePolicy(10)
        assert not any(fails(policy, "code", "the same") for _ in range(2))
        if between == "other words":
            assert not fails(policy, "code", "different")
        elif between == "a good slice":
            policy.slice_ended("slot 1")
        else:
            assert not fails(policy, "nan", "the same")
        assert not any(fails(policy, "code", "the same") for _ in range(2)), between


def test_chance_failures_never_make_a_row() -> None:
    for kind in ("nan", "oom", "lost", "hung"):
        policy = FailurePolicy(10)
        assert not any(fails(policy, kind, "the same") for _ in range(5))


@given(st.integers(1, 5), st.integers(0, 6))
def test_max_failures_is_a_total(limit: int, failed: int) -> None:
    found = state(*(trial(n, FAILED) for n in range(failed)), trial(90, COMPLETED, 1.0))
    words = FailurePolicy(limit).too_many(found)
    assert bool(words) == (failed >= limit)
    assert not words or f"--max-failures {limit}" in words


def test_retried_and_copied_failures_count_once() -> None:
    found = state(trial(0, FAILED), trial(1, FAILED, origin=0), trial(2, FAILED, retry_of=0))
    assert not FailurePolicy(2).too_many(found)
    assert FailurePolicy(1).too_many(found)


def test_a_slot_is_set_aside_after_losses_in_a_row_where_others_go_on() -> None:
    assert (LOST_RETRIES, SLOT_LOSSES) == (2, 3)
    policy = FailurePolicy(10)
    assert [policy.slice_lost("slot 1", 1) for _ in range(3)] == [False, False, True]
    assert policy.aside == {"slot 1"}
    alone = FailurePolicy(10)
    assert not any(alone.slice_lost("slot 1", 0) for _ in range(9))
    for good in (FailurePolicy.slice_ended, FailurePolicy.slice_failed):
        policy = FailurePolicy(10)
        for _ in range(5):
            policy.slice_lost("slot 1", 1)
            good(policy, "slot 1")
        assert not policy.aside
