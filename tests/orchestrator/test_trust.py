"""Trials that continue at random: the draws, what policies make of them, and what a study concludes from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from orchestrator_parts import LR, tiny_plan

from orchestrator.planning.price import price_of, price_words
from orchestrator.planning.settings import pruner_settings
from orchestrator.policies.policy import Setting, decide
from orchestrator.policies.simulate import simulate
from orchestrator.policies.supply import Supply
from orchestrator.policies.table import policy_kind, search_policy
from orchestrator.results.doubt import Doubt
from orchestrator.results.trust import agreements, audit_of, chances
from orchestrator.study.draws import Draws
from orchestrator.study.ladder import Rung
from orchestrator.study.plan import Plan, plan_from_plain
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, PAUSED, RUNNING, Evaluated, TrialState
from trainer.api import Metric

BLEU = Metric("bleu", "BLEU", "maximize", 100.0)
LADDER = {"ladder": "1x10@32,2x20@32,3x30@32", "budget": {}, "search": {"reduction_factor": 3}}


def plan_of(tmp_path: Path, trials: int, draws: Draws) -> Plan:
    plan = tiny_plan(tmp_path, [0.001 * (n + 1) for n in range(trials)], **LADDER)
    return replace(plan, draws=draws)


def searched(plan: Plan, curve: Any) -> StudyState:
    state = StudyState()
    for _ in simulate(search_policy(plan), plan.rungs, lambda n, _: plan.trials[n], curve, state):
        pass
    return state


def noisy(rho: float) -> Any:
    """Values whose correlation from rung to rung is `rho`, the same for every trial in every study."""

    def curve(trial: TrialState, epoch: int) -> float:
        chance = np.random.default_rng(trial.number)
        worth = chance.normal()
        return float(rho * worth + (1 - rho**2) ** 0.5 * np.random.default_rng([trial.number, epoch]).normal())

    return curve


def test_the_draws_follow_from_seed_and_number_and_have_their_chances() -> None:
    draws = Draws(0.3, 0.1, seed=4)
    drawn = [draws.draw(number, 1) for number in range(4000)]
    assert drawn == [Draws(0.3, 0.1, seed=4).draw(number, 1) for number in range(4000)]
    assert drawn.count("audit") / 4000 == pytest.approx(0.1, abs=0.02)
    assert drawn.count("anchor") / 4000 == pytest.approx(0.27, abs=0.03)
    assert draws.chance == pytest.approx(0.37)
    assert drawn != [draws.draw(number, 2) for number in range(4000)], "another draw on every rung"
    assert not any(Draws().draw(number, 1) for number in range(100))


def test_the_draws_of_an_old_study_stay_what_they_were() -> None:
    draws = Draws(0.3, 0.1, seed=4)
    drawn = {(number, rung): draws.draw(number, rung) for number in range(14) for rung in (1, 2)}
    assert {place: why for place, why in drawn.items() if why} == {
        (0, 1): "anchor", (1, 2): "anchor", (3, 1): "anchor", (6, 1): "audit", (6, 2): "audit", (7, 2): "anchor",
        (8, 1): "anchor", (8, 2): "anchor", (10, 1): "anchor", (11, 1): "anchor", (12, 2): "anchor", (13, 1): "audit",
        (13, 2): "audit",
    }  # fmt: skip


def test_anchors_go_on_with_their_reason_and_rest_at_the_next_rung(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 27, Draws(0.3, 0.0, seed=1))
    state = searched(plan, noisy(0.9))
    anchors = [trial for trial in state.in_order() if "anchor" in trial.spared.values()]
    assert anchors
    for trial in anchors:
        for rung in trial.spared:
            assert plan.draws.draw(trial.number, rung) == "anchor"
            assert rung + 1 in trial.results
    resting = [t for t in state.with_status(PAUSED) if not plan.draws.draw(t.number, t.rung)]
    assert len(resting) == len(state.with_status(PAUSED)), "who is drawn goes on at once"


def test_the_audited_are_trained_to_the_end(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 27, Draws(0.0, 0.3, seed=1))
    state = searched(plan, noisy(0.9))
    audited = [trial for trial in state.in_order() if trial.spared]
    assert audited
    assert all(trial.status == COMPLETED for trial in audited)
    found = audit_of(plan, state)
    assert found is not None
    assert found.audited == len(audited)
    best = max(t.result for t in state.with_status(COMPLETED) if not t.spared)
    assert found.wrong == sum(t.result > best for t in audited)
    assert found.share.low is not None
    assert found.share.low <= found.wrong / found.audited


def test_a_pruner_is_audited_once_and_says_so() -> None:
    rung = Rung(3, 30, 32, 20)
    options = pruner_settings({"name": "threshold", "lower": 50.0}, None, BLEU, 3)
    policy = policy_kind("threshold").make(Setting(BLEU, (rung,), Supply(2, 2), options, draws=Draws(0, 1)))
    trial = TrialState(0, 0, {})
    reasons = []
    for epoch in (1, 2, 3):
        trial.add(Evaluated(epoch, 5.0, 5.0))
        reasons.append(decide(policy, trial, StudyState({0: trial}), (rung,)).reason)
    assert reasons[0].startswith("goes on as an audited trial, or would be pruned at epoch 1 of 3: BLEU 5 is")
    assert reasons[1] == ""
    assert trial.status == COMPLETED
    assert trial.spared == {1: "audit"}


def test_the_chances_are_those_of_the_draws_alone(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 27, Draws(0.4, 0.1, seed=3))
    state = searched(plan, noisy(0.5))
    lots = chances(plan, state, 2)
    assert lots
    assert set(lots.values()) == {plan.draws.chance}
    ranked = sorted(state.in_order(), key=lambda t: -t.results[1])
    assert not lots.keys() & {t.number for t in ranked[:9]}, "who went on by rank would have in any case"
    assert any(value == pytest.approx(plan.draws.chance**2) for value in chances(plan, state, 3).values())


def test_a_study_tells_its_agreement_from_its_anchors(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 40, Draws(0.3, 0.0, seed=2))
    found = list(agreements(plan, searched(plan, noisy(0.95)), StudyState()))
    pairs = [("rung 1", "rung 2"), ("rung 2", "rung 3"), ("rung 1", "rung 3")]
    assert [(pair.lower, pair.upper) for pair in found] == pairs
    assert found[0].method == "anchors"
    assert found[0].seen == 40
    assert not found[0].poor


def test_a_rung_that_predicts_nothing_is_warned_of_once_with_a_way_out(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 60, Draws(0.5, 0.0, seed=2))
    doubt, state, said = Doubt(plan), StudyState(), []
    for seen in simulate(search_policy(plan), plan.rungs, lambda n, _: plan.trials[n], noisy(0.0), state):
        said += [line for trial in seen.in_order() if (line := doubt.about(trial, seen))]
    first = [line for line in said if "rung 1 (1 epoch, 10 images @32) does not predict rung 2" in line]
    assert len(first) == 1
    assert first[0].endswith("; leave it out of the next study: --ladder 2x20@32,3x30@32")
    good, quiet = StudyState(), Doubt(plan)
    for seen in simulate(search_policy(plan), plan.rungs, lambda n, _: plan.trials[n], noisy(0.97), good):
        assert not any(quiet.about(trial, seen) for trial in seen.in_order())


def test_a_metric_that_is_the_same_for_most_is_warned_of_once(tmp_path: Path) -> None:
    """As mAP is after an epoch or two: a ladder then goes on with whoever came first."""
    plan = plan_of(tmp_path, 12, Draws())
    early = lambda trial, epoch: 0.0 if epoch == 1 and trial.number % 5 else float(trial.number)  # noqa: E731
    doubt, state, said = Doubt(plan), StudyState(), []
    for seen in simulate(search_policy(plan), plan.rungs, lambda n, _: plan.trials[n], early, state):
        # As after a restart in the middle: what was there before counts too.
        doubt = Doubt(plan) if len(seen.trials) == 4 else doubt
        said += [line for trial in seen.in_order() if (line := doubt.about(trial, seen))]
    assert said == [
        "warning: BLEU is 0 for 5 of 6 trials at rung 1 (1 epoch, 10 images @32): it does not distinguish them; "
        "another budget may, or a study with metrics.bleu=false, which ranks by the validation loss"
    ]
    telling, other = Doubt(plan), searched(plan, noisy(0.9))
    assert not any(telling.about(trial, other) for trial in other.in_order())


def test_the_plan_says_what_trust_costs_and_keeps_it(tmp_path: Path) -> None:
    plain, trusting = (plan_of(tmp_path, 40, draws) for draws in (Draws(), Draws(0.2, 0.05, seed=42)))
    more = price_of(trusting, {}).usual_epochs - price_of(plain, {}).usual_epochs
    assert more > 0
    line = next(line for line in price_words(trusting, price_of(trusting, {})) if "--anchors" in line)
    assert f"about {more:.0f} of these epochs" in line
    assert not any("--anchors" in line for line in price_words(plain, price_of(plain, {})))
    kept = plan_from_plain(trusting.plain(), trusting.folder)
    assert (kept.draws.anchors, kept.draws.audit) == (0.2, 0.05)
    all_of_them = price_of(plan_of(tmp_path, 40, Draws(1.0, 0.0)), {})
    assert [rung.usual for rung in all_of_them.rungs] == [40.0, 40.0, 40.0]


@pytest.mark.parametrize("said", [{"anchors": 1.5}, {"audit": -0.1}, {"anchors": "some"}])
def test_shares_lie_between_0_and_1(tmp_path: Path, said: Mapping[str, Any]) -> None:
    from trainer.api import ConfigError

    with pytest.raises(ConfigError, match=f"search.{next(iter(said))}: .*at least 0 and at most 1"):
        tiny_plan(tmp_path, [0.1], search=said)


def test_what_is_spared_outlives_the_driver(tmp_path: Path) -> None:
    from orchestrator.output.study_files import prepare_folder
    from orchestrator.storage.opening import open_search
    from orchestrator.storage.store import memory_store

    plan = plan_of(tmp_path, 3, Draws(0.5, 0.0, seed=1))
    prepare_folder(plan)
    study = open_search(memory_store(), plan)
    trial = TrialState(-1, 0, {LR: 0.001}, status=RUNNING)
    study.add(trial, plan.values_of(trial.overrides))
    trial.spared = {1: "anchor"}
    study.decided(trial)
    assert study.load().trials[0].spared == {1: "anchor"}
