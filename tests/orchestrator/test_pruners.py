"""A pruner over a mirror of the state answers as it does in Optuna, on the same history."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.planning.settings import pruner_settings
from orchestrator.policies.optuna_pruners import STARTUP_TRIALS, PrunerPolicy
from orchestrator.policies.policy import Setting
from orchestrator.policies.pruner_mirror import PrunerMirror
from orchestrator.policies.supply import Supply
from orchestrator.policies.table import POLICIES, policy_kind
from orchestrator.study.ladder import Rung
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, PRUNED, Evaluated, TrialState
from trainer.api import LOSS, ConfigError, Metric

BLEU = Metric("bleu", "BLEU", "maximize", 100.0)

WANTED: list[dict[str, Any]] = [
    {"name": "median"},
    {"name": "median", "n_startup_trials": 1, "n_warmup_steps": 2},
    {"name": "median", "n_startup_trials": 0},
    {"name": "percentile", "percentile": 25.0, "n_startup_trials": 2},
    {"name": "percentile", "percentile": 80, "n_startup_trials": 1},
    {"name": "threshold", "lower": 0.25},
    {"name": "threshold", "upper": 0.75, "n_warmup_steps": 1},
    {"name": "patient", "patience": 1, "n_startup_trials": 1},
    {"name": "patient", "patience": 0, "min_delta": 0.05, "n_startup_trials": 1},
    {"name": "successive_halving", "min_resource": 1, "reduction_factor": 2},
    {"name": "successive_halving", "min_resource": 1, "reduction_factor": 3, "min_early_stopping_rate": 1},
    {"name": "hyperband", "min_resource": 1, "max_resource": 4, "reduction_factor": 2},
]
EPOCHS = 4
pytestmark = [pytest.mark.core, pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")]


def optunas_own(options: dict[str, Any]) -> optuna.pruners.BasePruner:
    """The pruner as a user of Optuna would write it down."""
    o = {"n_startup_trials": 5, "n_warmup_steps": 0, **options}
    median = optuna.pruners.MedianPruner(o["n_startup_trials"], o["n_warmup_steps"])
    if o["name"] == "median":
        return median
    if o["name"] == "percentile":
        return optuna.pruners.PercentilePruner(o["percentile"], o["n_startup_trials"], o["n_warmup_steps"])
    if o["name"] == "threshold":
        return optuna.pruners.ThresholdPruner(o.get("lower"), o.get("upper"), o["n_warmup_steps"])
    if o["name"] == "successive_halving":
        rate = o.get("min_early_stopping_rate", 0)
        return optuna.pruners.SuccessiveHalvingPruner(o["min_resource"], o["reduction_factor"], rate)
    if o["name"] == "hyperband":
        return optuna.pruners.HyperbandPruner(o["min_resource"], o["max_resource"], o["reduction_factor"])
    return optuna.pruners.PatientPruner(median, o["patience"], o.get("min_delta", 0.0))


class Asked:
    """A state beside the mirror that looks at it; trials are numbered in the order in which they come."""

    def __init__(self, options: Any, metric: Metric) -> None:
        settings = pruner_settings(options, None, metric, 5)
        policy = policy_kind(settings["name"]).make(Setting(metric, (Rung(5, None, 32, None),), Supply(0, 0), settings))
        assert isinstance(policy, PrunerPolicy)
        self.mirror = PrunerMirror(policy.pruner, metric)
        self.state = StudyState()
        self.trials: dict[int, TrialState] = {}

    def add(self, name: int, epoch: int, value: float) -> None:
        if name not in self.trials:
            self.trials[name] = self.state.trials[len(self.trials)] = TrialState(len(self.trials), 0, {})
        self.trials[name].add(Evaluated(epoch, value, value))

    def evaluated(self, name: int, epoch: int, value: float) -> bool:
        self.add(name, epoch, value)
        return self.mirror.should_prune(self.trials[name], self.state)

    def ended(self, name: int, status: str) -> None:
        self.trials[name].status = status
        if status == COMPLETED:
            self.trials[name].results[1] = self.trials[name].value or 0.0


class Pair:
    """A real study beside the mirror, told the same."""

    def __init__(self, options: dict[str, Any], maximize: bool) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        direction = "maximize" if maximize else "minimize"
        self.study = optuna.create_study(study_name="mirror", direction=direction, pruner=optunas_own(options))
        self.asked = Asked(options, BLEU if maximize else LOSS)
        self.trials: dict[int, optuna.Trial] = {}

    def evaluated(self, number: int, epoch: int, value: float) -> tuple[bool, bool]:
        if number not in self.trials:
            self.trials[number] = self.study.ask()
        self.trials[number].report(value, epoch)
        return self.trials[number].should_prune(), self.asked.evaluated(number, epoch, value)

    def completed(self, number: int, value: float) -> None:
        self.study.tell(self.trials[number], value)
        self.asked.ended(number, COMPLETED)

    def dropped(self, number: int, failed: bool) -> None:
        state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.PRUNED
        self.study.tell(self.trials[number], state=state)
        self.asked.ended(number, FAILED if failed else PRUNED)


curves = st.lists(
    st.lists(st.integers(0, 100).map(lambda n: n / 100), min_size=EPOCHS, max_size=EPOCHS), min_size=1, max_size=9
)


@settings(max_examples=15, deadline=None)
@given(curves, st.booleans())
@pytest.mark.parametrize("options", WANTED, ids=lambda o: "-".join(map(str, o.values())))
def test_one_after_another(options: dict[str, Any], table: list[list[float]], maximize: bool) -> None:
    pair = Pair(options, maximize)
    for number, curve in enumerate(table):
        for epoch, value in enumerate(curve, start=1):
            theirs, ours = pair.evaluated(number, epoch, value)
            assert ours == theirs
            if theirs:
                pair.dropped(number, failed=False)
                break
        else:
            pair.completed(number, curve[-1])


@settings(max_examples=15, deadline=None)
@given(curves, st.booleans(), st.randoms(use_true_random=False), st.sets(st.integers(0, 8), max_size=2))
@pytest.mark.parametrize("options", WANTED, ids=lambda o: "-".join(map(str, o.values())))
def test_several_at_a_time_with_failures(
    options: dict[str, Any], table: list[list[float]], maximize: bool, chance: Any, failing: set[int]
) -> None:
    pair = Pair(options, maximize)
    left = {number: list(enumerate(curve, start=1)) for number, curve in enumerate(table)}
    while left:
        number = chance.choice(sorted(left))
        epoch, value = left[number].pop(0)
        theirs, ours = pair.evaluated(number, epoch, value)
        assert ours == theirs
        if number in failing or theirs:
            pair.dropped(number, failed=number in failing)
            del left[number]
        elif not left[number]:
            pair.completed(number, value)
            del left[number]


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("name", ["median", "percentile"])
def test_five_completed_trials_come_first(name: str, maximize: bool) -> None:
    assert STARTUP_TRIALS == 5
    asked = Asked(name, BLEU if maximize else LOSS)
    worst = -1.0 if maximize else 1.0
    for number in range(5):
        assert not asked.evaluated(number, 1, 0.0)
        assert not asked.evaluated(50 + number, 1, worst), "no trial can be pruned before five have completed"
        asked.ended(number, COMPLETED)
    assert asked.evaluated(99, 1, worst)


def test_pruned_trials_are_nothing_to_compare_with() -> None:
    asked = Asked({"name": "median", "n_startup_trials": 1}, BLEU)
    asked.evaluated(0, 1, 10.0)
    asked.ended(0, PRUNED)
    assert not asked.evaluated(1, 1, 0.0)


@settings(max_examples=15, deadline=None)
@given(curves, st.booleans(), st.integers(0, 8))
@pytest.mark.parametrize("options", WANTED, ids=lambda o: "-".join(map(str, o.values())))
def test_a_mirror_made_anew_answers_as_the_one_that_saw_it_all(
    options: dict[str, Any], table: list[list[float]], maximize: bool, killed_after: int
) -> None:
    metric = BLEU if maximize else LOSS
    asked = Asked(options, metric)
    for number, curve in enumerate(table):
        if number == killed_after:
            again = Asked(options, metric)
            again.state, again.trials = asked.state, asked.trials
            asked = again
        ended = COMPLETED
        for epoch, value in enumerate(curve[:-1], start=1):
            undisturbed = asked.evaluated(number, epoch, value)
            anew = Asked(options, metric).mirror.should_prune(asked.trials[number], asked.state)
            assert anew == undisturbed
            if undisturbed:
                ended = PRUNED
                break
        else:
            asked.add(number, EPOCHS, curve[-1])  # no pruner is asked about the end
        asked.ended(number, ended)


def test_every_pruner_by_name() -> None:
    of_optuna = {"median", "percentile", "threshold", "patient", "successive_halving", "hyperband"}
    assert {"none", "halving", *of_optuna} <= set(POLICIES)
    assert not any(policy_kind(name).on_ladder for name in of_optuna), "they compare values of one epoch"
    assert pruner_settings("none", None, BLEU, 5) == {"name": "none"}
    assert pruner_settings("median", None, BLEU, 5) == {"name": "median", "n_startup_trials": 5, "n_warmup_steps": 0}
    assert pruner_settings({"name": "percentile", "percentile": 10}, None, BLEU, 5)["percentile"] == 10
    assert pruner_settings("halving", None, BLEU, 5) == {"name": "halving", "reduction_factor": 3}


def test_hyperbands_brackets_span_the_budget_unless_said_otherwise() -> None:
    assert pruner_settings("hyperband", None, BLEU, 27)["max_resource"] == 27
    assert pruner_settings({"name": "hyperband", "max_resource": 9}, None, BLEU, 27)["max_resource"] == 9


@pytest.mark.parametrize(("maximize", "side", "other"), [(True, "lower", "upper"), (False, "upper", "lower")])
def test_the_threshold_pruner_takes_the_early_stop_threshold(maximize: bool, side: str, other: str) -> None:
    found = pruner_settings("threshold", 0.5, BLEU if maximize else LOSS, 5)
    assert (found[side], found[other]) == (0.5, None)
    own = pruner_settings({"name": "threshold", "lower": 0.1}, 0.5, BLEU if maximize else LOSS, 5)
    assert (own["lower"], own["upper"]) == (0.1, None)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("asha", "unknown pruner 'asha'; known are none, halving, median, percentile, threshold, patient, succ"),
        ({}, "unknown pruner"),
        (None, "unknown pruner None"),
        (7, "unknown pruner 7"),
        ({"name": ["median"]}, "unknown pruner"),
        ({"name": "median", "n_start": 3}, "takes no option 'n_start'; it takes n_startup_trials, n_warmup_steps"),
        ({"name": "none", "x": 3}, "takes no option 'x'; it takes none"),
        ({"name": "median", "n_startup_trials": "5"}, "n_startup_trials must be a whole number, not '5'"),
        ({"name": "median", "n_startup_trials": 2.5}, "n_startup_trials must be a whole number, not 2.5"),
        ({"name": "median", "n_startup_trials": True}, "n_startup_trials must be a whole number, not True"),
        ({"name": "median", "n_startup_trials": -1}, "pruner median"),
        ({"name": "percentile", "percentile": 140}, "pruner percentile"),
        ({"name": "percentile", "percentile": float("nan")}, "percentile must be a number, not nan"),
        ({"name": "patient", "patience": -1}, "pruner patient"),
        ({"name": "threshold", "lower": "low"}, "lower must be a number, not 'low'"),
        ({"name": "threshold", "lower": 5, "upper": 1}, "pruner threshold"),
        ("threshold", "needs a bound"),
        ({"name": "halving", "reduction_factor": 1}, "reduction_factor must be at least 2, not 1"),
        ({"name": "hyperband", "reduction_factor": 1}, "reduction_factor must be at least 2, not 1"),
        ({"name": "successive_halving", "min_resource": 0}, "pruner successive_halving"),
        ({"name": "hyperband", "max_resource": 0}, "max_resource must be at least min_resource, 1, not 0"),
        ({"name": "hyperband", "min_resource": 6}, "max_resource must be at least min_resource, 6, not 5"),
        ({"name": "halving", "n_startup_trials": 3}, "takes no option 'n_startup_trials'; it takes reduction_factor"),
    ],
)
def test_mistakes_in_a_pruner(said: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pruner_settings(said, None, BLEU, 5)
    assert words in str(caught.value)


def test_all_mistakes_in_a_pruner_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        pruner_settings({"name": "median", "a": 1, "b": 2, "n_warmup_steps": "x"}, None, BLEU, 5)
    assert len(caught.value.problems) == 3
