"""Asynchronous successive halving that pauses: properties over random curves, in one slot and in several."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orchestrator_parts import LR, evaluated

from orchestrator.planning.price import price_of, usual_reach
from orchestrator.policies.halving import HalvingPolicy
from orchestrator.policies.policy import Climb, Continue, Setting, Step, Verdict, climb, decide
from orchestrator.policies.reasons import ordinal
from orchestrator.policies.simulate import Curve, simulate
from orchestrator.policies.supply import Ask, Supply
from orchestrator.results.timings import Seconds
from orchestrator.study.ladder import Rung
from orchestrator.study.plan import Plan
from orchestrator.study.ranking import on_rung, places
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING, SAMPLED, Evaluated, TrialState
from trainer.api import Metric

BLEU = Metric("bleu", "BLEU", "maximize", 100.0)
LOSS = Metric("loss", "loss", "minimize")
COMPARED = re.compile(
    r"(?P<label>BLEU|loss) (?P<value>\S+) is (?P<place>\w+) of (?P<of>\d+), "
    r"(?:the cut is (?P<cut>\S+)|and of every (?P<factor>\S+) one goes on)$"
)


@dataclass
class Watched(HalvingPolicy):
    """Checks every decision against a count of its own, and writes it down."""

    lines: list[tuple[str, int, str]] = field(default_factory=list)

    def next(self, state: StudyState, busy: Collection[int]) -> Step | None:
        step = super().next(state, busy)
        if isinstance(step, Climb):
            trial = state.trials[step.number]
            assert step.number not in busy
            assert (trial.status, trial.reached) == (PAUSED, trial.rung)
            assert among_the_best(self, trial, trial.rung, state)
            self.check_reason(step.reason, trial, trial.rung, state)
            self.lines.append(("climb", step.number, step.reason))
        elif isinstance(step, Continue):
            trial = state.trials[step.number]
            assert step.number not in busy
            assert not trial.is_final
            assert trial.epochs < step.until_epoch <= self.setting.rungs[trial.rung - 1].epochs
        return step

    def judge(self, trial: TrialState, state: StudyState, stopped_because: str = "") -> Verdict:
        rung = trial.rung
        verdict = super().judge(trial, state, stopped_because)
        if rung not in trial.results:
            assert verdict == Verdict("go_on")
            return verdict
        if rung == len(self.setting.rungs):
            assert verdict.action == "complete"
        else:
            assert (verdict.action == "climb") == among_the_best(self, trial, rung, state)
            assert verdict.action in ("climb", "pause")
            self.check_reason(verdict.reason, trial, rung, state)
        self.lines.append((verdict.action, trial.number, verdict.reason))
        return verdict

    def check_reason(self, reason: str, trial: TrialState, rung: int, state: StudyState) -> None:
        """A reason names rung, value, rank, competitors and cut."""
        found = COMPARED.search(reason)
        assert found, reason
        here = sorted(values_at(state, rung).values(), reverse=self.setting.metric.direction == "maximize")
        value = trial.results[rung]
        places = {ordinal(n) for n, other in enumerate(here, start=1) if other == value}
        assert (found["label"], found["value"]) == (self.setting.metric.label, f"{value:.4g}")
        assert found["place"] in places
        assert int(found["of"]) == len(here)
        going = math.floor(len(here) / self.factor)
        if going:
            assert found["cut"] == f"{here[going - 1]:.4g}"
        else:
            assert found["factor"] == f"{self.factor:g}"
        assert f"at rung {rung}" in reason
        if "goes on" in reason.split(":")[0]:
            above = rung + 1
            assert reason.startswith(
                f"goes on to rung {above} of {len(self.setting.rungs)} ({self.setting.rungs[rung].words()}): "
            )


def values_at(state: StudyState, rung: int) -> dict[int, float]:
    return {t.number: t.results[rung] for t in state.in_order() if t.origin is None and rung in t.results}


def among_the_best(policy: HalvingPolicy, trial: TrialState, rung: int, state: StudyState) -> bool:
    """Whether fewer than floor(n / factor) results stand before this one; of equals the earlier stands before."""
    values = values_at(state, rung)
    mine = values[trial.number]
    better = [n for n, v in values.items() if policy.setting.metric.better(v, mine) or (v == mine and n < trial.number)]
    return len(better) < math.floor(len(values) / policy.factor)


@dataclass(frozen=True)
class World:
    """A study's shape and its curves, which are few enough values for ties."""

    factor: int
    epochs: tuple[int, ...]
    trials: int
    maximize: bool
    seed: int

    @property
    def rungs(self) -> tuple[Rung, ...]:
        return tuple(Rung(n, 10 * i, 32, 20) for i, n in enumerate(self.epochs, start=1))

    def policy(self, n_trials: int | None = None) -> Watched:
        supply = Supply(0, self.trials if n_trials is None else n_trials, sampled=True)
        metric = BLEU if self.maximize else LOSS
        return Watched(Setting(metric, self.rungs, supply, {"reduction_factor": self.factor}))

    def curve(self, trial: TrialState, epoch: int) -> float:
        return float(random.Random(f"{self.seed} {trial.overrides['x']} {epoch}").randrange(12))

    def propose(self, number: int, state: StudyState) -> Mapping[str, Any]:
        """Depends on everything that is known, as a model-based sampler does."""
        known = sum((t.number + 1) * value for t in state.in_order() for value in t.values.values())
        return {"x": f"{number} {known}"}

    def run(self, state: StudyState | None = None) -> tuple[StudyState, Watched]:
        policy, state = self.policy(), StudyState() if state is None else state
        for _ in simulate(policy, self.rungs, self.propose, self.curve, state):
            pass
        return state, policy


worlds = st.builds(
    World,
    factor=st.integers(2, 5),
    epochs=st.sets(st.integers(1, 7), min_size=1, max_size=4).map(lambda found: tuple(sorted(found))),
    trials=st.integers(0, 30),
    maximize=st.booleans(),
    seed=st.integers(0, 10**6),
)


def assert_at_rest(world: World, state: StudyState, policy: HalvingPolicy) -> None:
    """Nothing is lost, nothing is half done, nobody starves."""
    assert policy.next(state, ()) is None
    assert sorted(state.trials) == list(range(world.trials))
    for trial in state.trials.values():
        assert trial.status in (PAUSED, COMPLETED)
        assert trial.reached == trial.rung
        assert (trial.status == COMPLETED) == (trial.rung == len(world.rungs))
        assert sorted(trial.values) == list(range(1, world.rungs[trial.rung - 1].epochs + 1))
        assert trial.results == {n: trial.values[world.rungs[n - 1].epochs] for n in range(1, trial.rung + 1)}
        if trial.status == PAUSED:
            assert not among_the_best(policy, trial, trial.rung, state)


@given(worlds)
def test_only_the_best_go_on_and_none_starves(world: World) -> None:
    state, policy = world.run()  # `Watched` checks each decision when it is taken
    assert_at_rest(world, state, policy)
    for lower, upper in zip(range(1, 4), range(2, 5), strict=True):
        below, above = values_at(state, lower), values_at(state, upper)
        assert above.keys() <= below.keys()
        assert len(above) >= math.floor(len(below) / world.factor) or upper > len(world.rungs)


@given(worlds)
def test_no_epoch_is_trained_twice_or_left_out(world: World) -> None:
    trained: Counter[tuple[int, int]] = Counter()

    def curve(trial: TrialState, epoch: int) -> float:
        trained[trial.number, epoch] += 1
        return world.curve(trial, epoch)

    state = StudyState()
    steps = sum(1 for _ in simulate(world.policy(), world.rungs, world.propose, curve, state))
    assert set(trained.values()) <= {1}
    assert trained.total() == steps == sum(t.epochs for t in state.trials.values())


@settings(max_examples=50)
@given(worlds, st.integers(1, 5), st.booleans())
def test_several_slots(world: World, slots: int, listed: bool) -> None:
    """Nobody is handed out twice, and no slot idles while there is something to do."""
    chance = random.Random(world.seed)
    policy, state, busy = world.policy(), StudyState(), dict[int, int]()
    supply = Supply(world.trials if listed else 0, world.trials, sampled=not listed)
    policy.setting = replace(policy.setting, supply=supply)
    while True:
        while len(busy) < slots and (step := policy.next(state, set(busy))) is not None:
            if isinstance(step, Ask):
                number = len(state.trials)
                assert step.index == (number if listed else None)
                state.trials[number] = TrialState(number, number if listed else SAMPLED, {"x": number})
            elif isinstance(step, Climb):
                climb(state.trials[step.number])
            else:
                busy[step.number] = step.until_epoch
        if len(busy) < slots:
            assert len(state.trials) == world.trials
            for trial in state.trials.values():
                rests = trial.status == PAUSED and not among_the_best(policy, trial, trial.rung, state)
                assert trial.number in busy or trial.status == COMPLETED or rests
        if not busy:
            break
        trial = state.trials[chance.choice(sorted(busy))]
        value = world.curve(trial, trial.epochs + 1)
        trial.add(Evaluated(trial.epochs + 1, value, value))
        if trial.epochs == busy[trial.number]:
            del busy[trial.number]
            decide(policy, trial, state, world.rungs)
    assert_at_rest(world, state, policy)


def story(state: StudyState, policy: Watched) -> Any:
    trials = [(t.number, t.overrides, t.status, t.rung, t.values, t.results) for t in state.in_order()]
    return trials, policy.lines


@settings(max_examples=50)
@given(worlds, st.lists(st.integers(0, 20), max_size=3))
def test_a_study_in_parts_is_the_study_in_one(world: World, parts: list[int]) -> None:
    world = replace(world, trials=20)
    expected = story(*world.run())
    state, lines = StudyState(), list[tuple[str, int, str]]()
    for total in (*(sorted(parts) or (5, 10, 15)), 20):
        policy = world.policy(total)
        for _ in simulate(policy, world.rungs, world.propose, world.curve, state):
            pass
        assert len(state.trials) == total
        lines += policy.lines
    assert (story(state, policy)[0], lines) == expected


@settings(max_examples=50)
@given(worlds, st.integers(0, 40))
def test_cut_off_anywhere_and_taken_up_by_another_policy(world: World, epochs: int) -> None:
    expected = story(*world.run())
    state = StudyState()
    policy = world.policy()
    for trained, _ in enumerate(simulate(policy, world.rungs, world.propose, world.curve, state), start=1):
        if trained >= epochs:
            break
    lines = policy.lines
    state, policy = world.run(state)
    assert (story(state, policy)[0], lines + policy.lines) == expected


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds)
def test_a_study_spends_at_most_its_price(planned: Callable[..., Plan], world: World) -> None:
    space = {LR: {"type": "float", "low": 0.001, "high": 0.1}}
    plan = planned([], search_space=space, search={"sampler": "random", "n_trials": 1})
    settled = {"name": "halving", "reduction_factor": world.factor}
    price = price_of(replace(plan, rungs=world.rungs, n_trials=world.trials, pruner=settled), {})
    state, _ = world.run()
    spent = sum(t.epochs for t in state.trials.values())
    assert spent <= price.most_epochs == world.trials * world.epochs[-1]
    assert price.usual_epochs <= price.most_epochs
    assert [rung.most for rung in price.rungs] == [world.trials] * len(world.rungs)
    if world.trials:
        assert price.rungs[0].usual == world.trials
        assert all(len(values_at(state, n)) <= rung.most for n, rung in enumerate(price.rungs, start=1))


@pytest.mark.parametrize(("factor", "rungs"), [(2, 2), (3, 3), (4, 4)])
def test_the_usual_price_is_what_a_study_spends_on_average(
    planned: Callable[..., Plan], factor: int, rungs: int
) -> None:
    """Over trials that keep their order from rung to rung, which come in random order."""
    world = World(factor, tuple(range(1, rungs + 1)), 40, True, 0)
    reached = [0] * rungs
    for seed in range(100):
        order = random.Random(seed).sample(range(40), 40)
        state = StudyState()
        for _ in simulate(world.policy(), world.rungs, lambda number, _: {"x": number}, by_rank(order), state):
            pass
        reached = [count + len(values_at(state, n)) for n, count in enumerate(reached, start=1)]
    means = [count / 100 for count in reached]
    pruner = {"name": "halving", "reduction_factor": factor}
    priced = usual_reach(replace(planned([0.1]), rungs=world.rungs, pruner=pruner), 40)
    assert means == pytest.approx(priced, rel=0.1, abs=0.6)  # either is a mean of draws


def test_the_time_of_a_study_is_that_of_its_epochs_and_of_opening_its_trials(planned: Callable[..., Plan]) -> None:
    rungs = (Rung(1, 10, 32, 20), Rung(3, 20, 32, 20))
    plan = replace(planned([0.1, 0.2, 0.3, 0.4]), rungs=rungs, pruner={"name": "none"})
    price = price_of(plan, {1: Seconds(2.0, 4.0, opening=1.0), 2: Seconds(5.0, 8.0)})
    # 4 trials × (1 epoch and an opening on rung 1, 2 more epochs on rung 2)
    assert price.slot_seconds == (4 * (1 * 2.0 + 1.0 + 2 * 5.0), 4 * (1 * 4.0 + 1.0 + 2 * 8.0))
    assert price_of(plan, {1: Seconds(2.0, 4.0)}).slot_seconds is None, "rung 2 was never timed"


def by_rank(order: list[int]) -> Curve:
    return lambda trial, _: float(order[trial.number])


# cases


RUNGS = (Rung(1, 10, 32, 20), Rung(3, 30, 32, 20), Rung(9, None, 48, 20))


def policy_of(factor: float = 3, n_trials: int = 0, metric: Metric = BLEU, **more: Any) -> HalvingPolicy:
    return HalvingPolicy(Setting(metric, RUNGS, Supply(n_trials, n_trials), {"reduction_factor": factor}, **more))


def trial(number: int, *results: float, status: str = PAUSED) -> TrialState:
    """A trial that rests on the rung of its last result."""
    found = TrialState(number, number, {}, str(number), status, rung=len(results) or 1)
    found.results = dict(enumerate(results, start=1))
    return evaluated(found, {RUNGS[rung - 1].epochs: value for rung, value in found.results.items()})


def state(*trials: TrialState) -> StudyState:
    return StudyState({t.number: t for t in trials})


def test_until_as_many_are_there_as_the_factor_nobody_goes_on() -> None:
    policy = policy_of()
    assert policy.next(state(trial(0, 5.0), trial(1, 6.0)), ()) is None
    step = policy.next(state(trial(0, 5.0), trial(1, 6.0), trial(2, 4.0)), ())
    reason = "goes on to rung 2 of 3 (3 epochs, 30 images @32): at rung 1 BLEU 6 is 1st of 3, the cut is 6"
    assert step == Climb(1, reason)


def test_who_rests_is_taken_up_when_others_make_room() -> None:
    """The second best climbs when six are there, although it was passed over among three."""
    policy = policy_of()
    six = [trial(0, 5.0), trial(1, 6.0, 7.0), *(trial(n, 1.0) for n in (2, 3, 4, 5))]
    assert isinstance(step := policy.next(state(*six), ()), Climb)
    assert step.number == 0
    assert step.reason.endswith("at rung 1 BLEU 5 is 2nd of 6, the cut is 5")


def test_the_highest_rung_comes_first() -> None:
    climbed = [trial(n, 9.0, 8.0) for n in range(3)]
    resting = [trial(n, 9.5) for n in range(3, 20)]
    step = policy_of().next(state(*climbed, *resting), ())
    assert isinstance(step, Climb)
    assert step.number == 0
    assert step.reason.startswith("goes on to rung 3 of 3 (9 epochs, all images @48): at rung 2 BLEU 8 is 1st of 3")


def test_what_stands_between_rungs_comes_before_all() -> None:
    between = trial(5, 2.0)
    between.rung = 2
    found = state(trial(0, 5.0), trial(1, 6.0), trial(2, 4.0), between)
    assert policy_of(n_trials=9).next(found, ()) == Continue(5, 3)
    assert isinstance(policy_of(n_trials=9).next(found, {5}), Climb)


def test_a_trial_that_failed_higher_up_makes_no_room_below() -> None:
    failed = trial(1, 6.0, status=FAILED)
    assert policy_of().next(state(trial(0, 5.0), failed, trial(2, 4.0)), ()) is None


def test_a_resting_trial_whose_checkpoint_is_gone_never_climbs() -> None:
    gone = trial(1, 6.0, status=PRUNED)
    assert policy_of().next(state(trial(0, 5.0), gone, trial(2, 4.0)), ()) is None


def test_duplicates_neither_compete_nor_climb() -> None:
    copy = TrialState(3, 3, {})
    copy.take_result(trial(1, 6.0))
    found = state(trial(0, 5.0), trial(1, 6.0), copy)
    assert policy_of().next(found, ()) is None
    assert len(on_rung(found, 1, BLEU)) == 2


def test_values_of_different_rungs_are_never_compared() -> None:
    climber = trial(0, 6.0, 0.5)
    found = state(climber, trial(1, 5.0), trial(2, 4.0))
    assert [t.results[1] for t in on_rung(found, 1, BLEU)] == [6.0, 5.0, 4.0]
    assert on_rung(found, 2, BLEU) == [climber]


@pytest.mark.parametrize(("metric", "value", "words"), [(BLEU, 2.0, "below"), (LOSS, 8.0, "above")])
def test_the_threshold_counts_at_the_top_rung_alone(metric: Metric, value: float, words: str) -> None:
    policy = policy_of(2, metric=metric, threshold=5.0)
    low = trial(0, value, status=RUNNING)
    assert decide(policy, low, state(low), RUNGS).action == "pause"
    assert not low.eliminated
    high = trial(1, value, value, status=RUNNING)
    high.rung = 3
    evaluated(high, {9: value})
    verdict = decide(policy, high, state(high), RUNGS)
    assert (verdict.action, high.status, high.eliminated) == ("prune", PRUNED, True)
    assert verdict.reason.endswith(f"{metric.label} {value:g} is {words} the threshold 5")


def test_a_run_that_stopped_itself_rests_on_its_rung() -> None:
    early = trial(0)
    early.status, early.rung = RUNNING, 2
    evaluated(early, {1: 4.0, 2: 5.0})
    early.results = {1: 4.0}
    verdict = decide(policy_of(), early, state(early), RUNGS, "no lower loss for 2 evaluations")
    assert (early.status, early.results) == (PAUSED, {1: 4.0, 2: 5.0})
    assert verdict.reason == (
        "at rung 2 of 3 (3 epochs, 30 images @32): BLEU 5 is 1st of 1, and of every 3 one goes on; "
        "stopped early at epoch 2: no lower loss for 2 evaluations"
    )


@given(st.integers(0, 10_000), st.integers(2, 50))
def test_places_are_whole(results: int, factor: int) -> None:
    assert places(results, factor) == results // factor


def test_an_exhausted_sampler_ends_asking_not_climbing() -> None:
    world = World(2, (1, 2), 50, True, 7)
    state = StudyState()

    def propose(number: int, _state: StudyState) -> Mapping[str, Any] | None:
        return {"x": number} if number < 6 else None

    for _ in simulate(world.policy(), world.rungs, propose, world.curve, state):
        pass
    assert state.exhausted
    assert_at_rest(replace(world, trials=6), state, world.policy())
