"""One rung with a pruner after every evaluation: what comes next, and what becomes of a trial."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_parts import evaluated

from orchestrator.planning.settings import pruner_settings
from orchestrator.policies.policy import Continue, Policy, Setting, Verdict, decide
from orchestrator.policies.reasons import ordinal
from orchestrator.policies.supply import Ask, Supply
from orchestrator.policies.table import policy_kind
from orchestrator.study.ladder import Rung
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, RUNNING, TrialState
from trainer.api import Metric

BLEU = Metric("bleu", "BLEU", "maximize", 100.0)
LOSS = Metric("loss", "loss", "minimize")
RUNG = Rung(3, 30, 32, 20)


def policy(
    metric: Metric = BLEU,
    n_trials: int = 4,
    pruner: object = "none",
    threshold: float | None = None,
    rungs: Sequence[Rung] = (RUNG,),
) -> Policy:
    options = pruner_settings(pruner, None, metric, RUNG.epochs)
    return policy_kind(options["name"]).make(Setting(metric, rungs, Supply(n_trials, n_trials), options, threshold))


def trial(number: int, status: str, *values: float) -> TrialState:
    return evaluated(TrialState(number, number, {}, str(number), status), dict(enumerate(values, start=1)))


def state(*trials: TrialState) -> StudyState:
    return StudyState({t.number: t for t in trials})


def judged(wanted: Policy, one: TrialState, found: StudyState, stopped: str = "") -> Verdict:
    return decide(wanted, one, found, (RUNG,), stopped)


def test_trials_in_the_order_of_the_list() -> None:
    found = state()
    asked = []
    while isinstance(step := policy().next(found, ()), Ask):
        asked.append(step.index)
        found.trials[step.index] = trial(step.index, COMPLETED, 1.0, 2.0, 3.0)
    assert asked == [0, 1, 2, 3]
    assert step is None


def test_interrupted_trials_come_first() -> None:
    found = state(trial(0, COMPLETED, 1.0), trial(1, PAUSED, 1.0, 2.0), trial(2, RUNNING))
    assert policy().next(found, ()) == Continue(1, 3)
    assert policy().next(found, {1}) == Continue(2, 3)
    assert policy().next(found, {1, 2}) == Ask(3)


def test_a_slice_ends_where_a_decision_can_be_taken() -> None:
    for done in range(3):
        found = state(trial(0, RUNNING, *[1.0] * done))
        assert policy().next(found, ()) == Continue(0, 3), "no pruner looks at what is between"
        assert policy(pruner="median").next(found, ()) == Continue(0, done + 1)


def test_the_number_of_trials_is_the_studys() -> None:
    found = state(*(trial(n, FAILED) for n in range(3)))
    assert policy(n_trials=3).next(found, ()) is None
    assert policy(n_trials=5).next(found, ()) == Ask(3)
    assert policy(n_trials=0).next(state(), ()) is None


def test_a_duplicate_of_a_running_trial_is_never_trained() -> None:
    copy = trial(1, RUNNING)
    copy.origin = 0
    assert policy().next(state(trial(0, RUNNING), copy), {0}) == Ask(2)


def test_without_a_pruner_a_trial_climbs_the_ladder_in_one_go() -> None:
    rungs = (Rung(1, 10, 32, 20), Rung(3, 30, 32, 20))
    wanted = policy(n_trials=1, rungs=rungs)
    one = trial(0, RUNNING, 5.0)
    assert decide(wanted, one, state(one), rungs).action == "climb"
    assert (one.rung, one.status, one.results) == (2, RUNNING, {1: 5.0})
    assert wanted.next(state(one), ()) == Continue(0, 3)


@given(st.lists(st.floats(0, 100), min_size=3, max_size=3), st.sampled_from([BLEU, LOSS]), st.floats(0, 100))
def test_the_threshold_is_strict_and_asked_once_at_the_end(values: list[float], metric: Metric, bound: float) -> None:
    wanted = policy(metric, threshold=bound)
    for epoch in (1, 2):
        assert judged(wanted, trial(0, RUNNING, *values[:epoch]), state()).action == "go_on"
    verdict = judged(wanted, trial(0, RUNNING, *values), state())
    worse = values[-1] < bound if metric is BLEU else values[-1] > bound
    assert verdict.action == ("prune" if worse else "complete")


def test_reasons_at_the_end_name_the_numbers() -> None:
    low, high = trial(0, RUNNING, 30.0, 20.0, 12.5), trial(0, RUNNING, 1.0, 2.0, 50.25)
    wanted = policy(threshold=12.75)
    where = "at rung 1 of 1 (3 epochs, 30 images @32)"
    assert judged(wanted, low, state()).reason == f"{where}: BLEU 12.5 is below the threshold 12.75"
    assert judged(wanted, high, state()).reason == f"{where}: BLEU 50.25"
    losing = judged(policy(LOSS, threshold=0.5), trial(0, RUNNING, 3.0, 2.0, 0.75), state())
    assert losing.reason == f"{where}: loss 0.75 is above the threshold 0.5"


def test_a_run_that_stopped_itself_is_at_its_end() -> None:
    verdict = judged(policy(), trial(0, RUNNING, 4.0), state(), "no lower loss for 5 evaluations")
    assert verdict.action == "complete"
    assert verdict.reason.endswith("BLEU 4; stopped early at epoch 1: no lower loss for 5 evaluations")
    assert judged(policy(threshold=5), trial(0, RUNNING, 4.0), state(), "stopped").action == "prune"


@pytest.mark.parametrize(("metric", "sign"), [(BLEU, 1.0), (LOSS, -1.0)])
def test_a_pruned_trials_reason_names_rank_and_median(metric: Metric, sign: float) -> None:
    wanted = policy(metric, pruner={"name": "median", "n_startup_trials": 3})
    done = [trial(n, COMPLETED, sign * v, sign * 10 * v) for n, v in enumerate((1.0, 3.0, 4.0))]
    weak = trial(5, RUNNING, sign * 2.0)
    verdict = judged(wanted, weak, state(*done, weak))
    assert verdict.action == "prune"
    label, cut = metric.label, f"{sign * 3.0:.4g}"
    assert verdict.reason == f"at epoch 1 of 3: {label} {sign * 2:.4g} is 3rd of 4, the median is {cut}"


def test_a_percentile_pruners_reason_names_its_cut() -> None:
    wanted = policy(pruner={"name": "percentile", "percentile": 25.0, "n_startup_trials": 4})
    done = [trial(n, COMPLETED, float(n)) for n in range(5)]
    weak = trial(9, RUNNING, 2.5)
    verdict = judged(wanted, weak, state(*done, weak))
    assert verdict.reason == "at epoch 1 of 3: BLEU 2.5 is 3rd of 6, the cut is 3"


@given(st.lists(st.floats(0, 100), min_size=5, max_size=9), st.floats(0, 100), st.booleans())
def test_the_cut_in_the_reason_is_the_one_that_was_missed(done: list[float], value: float, maximize: bool) -> None:
    wanted = policy(BLEU if maximize else LOSS, pruner="median")
    weak = trial(99, RUNNING, value)
    verdict = judged(wanted, weak, state(*(trial(n, COMPLETED, v) for n, v in enumerate(done)), weak))
    if verdict.action == "prune":
        cut = float(verdict.reason.rsplit(" ", 1)[1])
        assert value <= cut * 1.001 + 1e-9 if maximize else value >= cut * 0.999 - 1e-9
    else:
        assert (verdict.action, verdict.reason) == ("go_on", "")


def test_other_pruners_name_themselves() -> None:
    wanted = policy(pruner={"name": "threshold", "lower": 2.0})
    weak = trial(0, RUNNING, 1.0)
    verdict = judged(wanted, weak, state(weak))
    assert verdict.reason == "at epoch 1 of 3: BLEU 1 is 1st of 1 (threshold pruner)"


def test_duplicates_are_not_counted_in_ranks() -> None:
    wanted = policy(pruner={"name": "median", "n_startup_trials": 1})
    first, weak = trial(0, COMPLETED, 5.0), trial(2, RUNNING, 1.0)
    copy = trial(1, RUNNING)
    found = state(first, weak)
    copy.take_result(first)
    found.trials[1] = copy
    assert judged(wanted, weak, found).reason == "at epoch 1 of 3: BLEU 1 is 2nd of 2, the median is 5"


def test_duplicates_are_not_in_the_median_of_a_reason() -> None:
    wanted = policy(pruner={"name": "median", "n_startup_trials": 2})
    low, high, weak = trial(0, COMPLETED, 4.0), trial(1, COMPLETED, 8.0), trial(3, RUNNING, 1.0)
    copy = trial(2, RUNNING)
    copy.take_result(high)
    assert judged(wanted, weak, state(low, high, copy, weak)).reason.endswith("the median is 6")


def test_at_the_last_epoch_no_pruner_is_asked() -> None:
    wanted = policy(pruner={"name": "median", "n_startup_trials": 1})
    best, weak = trial(0, COMPLETED, 9.0, 9.0, 9.0), trial(1, RUNNING, 1.0, 1.0, 1.0)
    assert judged(wanted, weak, state(best, weak)).action == "complete"


@pytest.mark.parametrize(
    ("number", "words"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (10, "10th"), (11, "11th"), (12, "12th"), (13, "13th"),
     (21, "21st"), (22, "22nd"), (101, "101st"), (111, "111th"), (112, "112th"), (123, "123rd")],
)  # fmt: skip
def test_ordinals(number: int, words: str) -> None:
    assert ordinal(number) == words
