"""The search space of a trials file: what it may say, and every mistake in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_parts import LR, TINY, Command, tiny_plan, tree

from orchestrator.planning.mistakes import Mistakes
from orchestrator.planning.search_space import read_space
from orchestrator.samplers.fixed_orders import grid_values
from orchestrator.samplers.table import sampler_kind
from orchestrator.study.plan import Plan, plan_from_plain
from orchestrator.study.space import Dimension, Space, distribution, space_from_plain
from trainer.api import ConfigError, dump_yaml, parse_yaml, resolve_config

TYPE, MOMENTUM, NESTEROV = "training.optimizer.type", "training.optimizer.momentum", "training.optimizer.nesterov"
DROPOUT, BATCH, BETAS = "model.dropout", "training.batch_size", "training.optimizer.betas"
DECAY = "training.optimizer.weight_decay"
HALF = {"type": "float", "low": 0.0, "high": 0.5}
KINDS = {"type": "categorical", "choices": ["adamw", "sgd"]}
BASE = resolve_config({"task": "captioning"}, {k: v for k, v in TINY.items() if k != "training.epochs"})


def read(said: Mapping[str, Any], fixed: tuple[str, ...] = ()) -> tuple[Space, list[str]]:
    mistakes = Mistakes()
    space = read_space(said, "captioning", partial(resolve_config, BASE.plain()), fixed, "space", mistakes)
    return space, [str(problem) for problem in mistakes.problems]


def space_of(said: Mapping[str, Any]) -> Space:
    space, problems = read(said)
    assert not problems
    return space


# what it may say


def test_choices_are_values_in_any_spelling() -> None:
    said = {
        "optimizer.type": {"type": "categorical", "choices": ["AdamW", "SGD"]},
        "training.precision": {"type": "categorical", "choices": [32, "bf16-mixed"]},
        MOMENTUM: {**HALF, "when": {"optimizer.type": "Sgd"}},
    }
    optimizer, precision, momentum = space_of(said)
    assert (optimizer.shape["choices"], precision.shape["choices"]) == (["adamw", "sgd"], ["fp32", "bf16"])
    assert momentum.when == {TYPE: ("sgd",)}


@pytest.mark.parametrize(
    ("key", "choices", "twice"),
    [(TYPE, ["adam", "Adam"], "adam"), ("training.precision", ["16-mixed", 16], "fp16"), (LR, ["1e-3", 0.001], 0.001)],
)
def test_one_value_in_two_spellings_is_listed_twice(key: str, choices: list[Any], twice: Any) -> None:
    _, problems = read({key: {"type": "categorical", "choices": choices}})
    assert problems == [f"space.{key}: the choice {json.dumps(twice)} is listed twice"]


def test_dimensions_in_the_order_of_the_file() -> None:
    said = {
        LR: {"type": "float", "low": 1e-5, "high": 0.1, "log": True},
        BATCH: {"type": "int", "low": 8, "high": 64, "step": 8},
        TYPE: KINDS,
        MOMENTUM: {**HALF, "when": {TYPE: "sgd"}},
    }
    assert space_of(said) == (
        Dimension(LR, {"type": "float", "low": 1e-5, "high": 0.1, "log": True}),
        Dimension(BATCH, {"type": "int", "low": 8, "high": 64, "log": False, "step": 8}),
        Dimension(TYPE, {"type": "categorical", "choices": ["adamw", "sgd"]}),
        Dimension(MOMENTUM, {"type": "float", "low": 0.0, "high": 0.5, "log": False}, {TYPE: ("sgd",)}),
    )


def test_conditions_chain() -> None:
    said = {TYPE: KINDS, MOMENTUM: {"type": "categorical", "choices": [0.5, 0.9], "when": {TYPE: ["sgd"]}}}
    said[NESTEROV] = {"type": "categorical", "choices": [True, False], "when": {TYPE: "sgd", MOMENTUM: [0.9]}}
    nesterov = space_of(said)[2]
    assert nesterov.active({TYPE: "sgd", MOMENTUM: 0.9})
    assert not nesterov.active({TYPE: "sgd", MOMENTUM: 0.5})
    assert not nesterov.active({TYPE: "sgd"})
    assert not nesterov.active({})


def test_accepted_spellings_become_canonical_with_their_values() -> None:
    space = space_of(
        {
            "training.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
            "training.use_amp": {"type": "categorical", "choices": [True, False]},
            "optimizer.type": {"type": "categorical", "choices": ["AdamW", "SGD"]},
            "optimizer.momentum": {**HALF, "when": {"optimizer.type": "SGD"}},
        }
    )
    assert [dimension.key for dimension in space] == [LR, "training.precision", TYPE, MOMENTUM]
    assert space[1].shape["choices"] == ["auto", "fp32"]
    assert space[2].shape["choices"] == ["adamw", "sgd"]
    assert space[3].when == {TYPE: ("sgd",)}


@pytest.mark.parametrize(("name", "value"), [(TYPE, "sgd"), ("optimizer.type", "SGD")])
@pytest.mark.parametrize("spelled", [TYPE, "optimizer.type"])
def test_a_condition_may_be_spelled_otherwise_than_its_dimension(spelled: str, name: str, value: str) -> None:
    choices = ["adamw", "sgd"] if spelled == TYPE else ["AdamW", "SGD"]
    said = {spelled: {"type": "categorical", "choices": choices}, MOMENTUM: {**HALF, "when": {name: value}}}
    assert space_of(said)[1].when == {TYPE: ("sgd",)}


def test_null_and_lists_are_kept_as_json() -> None:
    said = {
        DECAY: {"type": "categorical", "choices": [None, 0.1]},
        BETAS: {"type": "categorical", "choices": [None, [0.9, 0.99]]},
        DROPOUT: {**HALF, "when": {DECAY: [None]}},
    }
    space = space_of(said)
    assert space[0].shape == {"type": "json", "choices": ["null", "0.1"]}
    assert space[1].shape == {"type": "json", "choices": ["null", "[0.9, 0.99]"]}
    assert grid_values(space[1]) == [None, [0.9, 0.99]]
    assert space[2].active({DECAY: None})
    assert not space[2].active({DECAY: 0.1})


def test_a_key_that_may_be_null_may_have_a_range() -> None:
    assert space_of({DECAY: HALF})[0].shape["type"] == "float"


@pytest.mark.parametrize(
    ("low", "high", "step", "values"),
    [
        (0.1, 0.3, 0.1, [0.1, 0.2, 0.3]),
        (0.1, 0.35, 0.1, [0.1, 0.2, 0.3]),
        (0.0, 0.5, 0.25, [0.0, 0.25, 0.5]),
        (0.0, 0.5, 0.5, [0.0, 0.5]),
    ],
)
@pytest.mark.filterwarnings("error")  # Optuna warns where a range is no multiple of its step
def test_a_range_ends_on_its_last_step(low: float, high: float, step: float, values: list[float]) -> None:
    dimension = space_of({DROPOUT: {"type": "float", "low": low, "high": high, "step": step}})[0]
    assert dimension.shape["high"] == values[-1]
    assert grid_values(dimension) == pytest.approx(values)
    assert distribution(dimension.shape).high == values[-1]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 50))
@pytest.mark.filterwarnings("error")
def test_whole_steps_stay_inside(low: int, width: int, step: int) -> None:
    said = {"type": "int", "low": low, "high": low + width, "step": min(step, width)}
    shape = space_of({BATCH: said})[0].shape
    assert low <= shape["high"] <= low + width
    assert (shape["high"] - low) % shape["step"] == 0
    assert shape["high"] + shape["step"] > low + width
    distribution(shape)


def test_a_space_survives_its_yaml() -> None:
    said = {TYPE: KINDS, MOMENTUM: {**HALF, "when": {TYPE: ["sgd"]}}, BATCH: {"type": "int", "low": 4, "high": 8}}
    space = space_of(said)
    plain = parse_yaml(dump_yaml({"space": [dimension.plain() for dimension in space]}), "here")["space"]
    assert space_from_plain(plain) == space


# mistakes


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({DROPOUT: {**HALF, "type": "real"}}, "unknown type 'real'; known are float, int, categorical"),
        ({DROPOUT: {"low": 0, "high": 1}}, "unknown type None"),
        ({DROPOUT: {**HALF, "type": ["float"]}}, "unknown type ['float']"),
        ({DROPOUT: {**HALF, "scale": "log"}}, "'scale' does not belong to a dimension of type float; it takes low, hi"),
        ({DROPOUT: {**HALF, "choices": [0.1]}}, "'choices' does not belong to a dimension of type float"),
        ({TYPE: {**KINDS, "log": True}}, "'log' does not belong to a dimension of type categorical; it takes choices"),
        ({DROPOUT: {**HALF, "low": 0.5}}, "low must be below high, not 0.5 and 0.5"),
        ({DROPOUT: {**HALF, "low": 0.7}}, "low must be below high, not 0.7 and 0.5"),
        ({LR: {"type": "float", "low": 0, "high": 0.1, "log": True}}, "low must be above 0 on a log scale, not 0"),
        ({LR: {"type": "float", "low": -1, "high": 0.1, "log": True}}, "low must be above 0 on a log scale, not -1"),
        ({DROPOUT: {**HALF, "log": "yes"}}, "log must be true or false, not 'yes'"),
        ({DROPOUT: {**HALF, "step": 0}}, "step must be above 0, not 0"),
        ({DROPOUT: {**HALF, "step": 0.7}}, "step 0.7 is larger than the range from 0 to 0.5"),
        ({LR: {"type": "float", "low": 0.1, "high": 1, "log": True, "step": 0.1}}, "step and log exclude each other"),
        ({DROPOUT: {"type": "float", "high": 0.5}}, "low is missing"),
        ({DROPOUT: {"type": "float", "low": 0.5}}, "high is missing"),
        ({DROPOUT: {**HALF, "low": "0"}}, "low must be a finite number, not '0'"),
        ({DROPOUT: {**HALF, "high": True}}, "high must be a finite number, not True"),
        ({DROPOUT: {**HALF, "high": float("nan")}}, "high must be a finite number, not nan"),
        ({DROPOUT: {**HALF, "high": float("inf")}}, "high must be a finite number, not inf"),
        ({DROPOUT: {**HALF, "high": 10**400}}, "high must be a finite number, not 1000"),
        ({BATCH: {"type": "int", "low": 1.5, "high": 4}}, "low must be a whole number, not 1.5"),
        ({BATCH: {"type": "float", "low": 1, "high": 4}}, "is a whole number and takes type int"),
        ({TYPE: HALF}, "is a key of kind choice and takes type categorical, not float"),
        ({BETAS: HALF}, "is a key of kind list and takes type categorical, not float"),
        ({TYPE: {"type": "categorical", "choices": []}}, "choices must not be empty"),
        ({TYPE: {"type": "categorical"}}, "choices are missing"),
        ({TYPE: {"type": "categorical", "choices": "sgd"}}, "choices must be a list"),
        ({TYPE: {"type": "categorical", "choices": ["sgd", "adam", "sgd"]}}, 'the choice "sgd" is listed twice'),
        ({DROPOUT: 0.5}, "must be a mapping such as {type: float, low: 0.1, high: 1.0}, not 0.5"),
        ({DROPOUT: None}, "must be a mapping such as"),
        ({"model.droput": HALF}, "unknown key; did you mean model.dropout?"),
        ({"model": HALF}, "is a section, not a value"),
        ({LR: {**HALF, "low": 0.1}, "training.lr": HALF}, "training.optimizer.lr is searched twice, under two spelli"),
        # what the base does not take
        ({DROPOUT: {**HALF, "high": 1.0}}, "high: model.dropout: input should be less than 1"),
        ({BATCH: {"type": "int", "low": 0, "high": 4}}, "low: training.batch_size: input should be greater than or eq"),
        ({TYPE: {"type": "categorical", "choices": ["adamw", "lion"]}}, 'choice "lion": training.optimizer.type: must'),
        ({BATCH: {"type": "categorical", "choices": [4, "x"]}}, 'choice "x": training.batch_size: must be a whole nu'),
        ({MOMENTUM: HALF}, "high, with the base values of the other keys: training.optimizer: adam does not"),
        ({TYPE: KINDS, MOMENTUM: {**HALF, "when": {TYPE: ["sgd", "adamw"]}}}, "adamw does not take momentum"),
        # conditions
        (
            {MOMENTUM: {**HALF, "when": {TYPE: "sgd"}}, TYPE: KINDS},
            "is a later dimension; a condition needs an earlier one",
        ),
        ({DROPOUT: {**HALF, "when": {DROPOUT: 0.1}}}, "is a later dimension"),
        ({DROPOUT: {**HALF, "when": {TYPE: "sgd"}}}, f"{DROPOUT}.when.{TYPE}: is not a searched key"),
        ({DROPOUT: {**HALF, "when": {"no.such": 1}}}, f"{DROPOUT}.when.no.such: is not a searched key"),
        ({TYPE: KINDS, MOMENTUM: {**HALF, "when": {TYPE: "sdg"}}}, '"sdg" is not a value that training.optimizer.type'),
        ({TYPE: KINDS, MOMENTUM: {**HALF, "when": {TYPE: [1]}}}, "1 is not a value that training.optimizer.type can"),
        ({BATCH: {"type": "int", "low": 2, "high": 4}, DROPOUT: {**HALF, "when": {BATCH: 5}}}, "5 is not a value that"),
        ({TYPE: KINDS, MOMENTUM: {**HALF, "when": {TYPE: []}}}, "names no value"),
        ({DECAY: {"type": "categorical", "choices": [None]}, DROPOUT: {**HALF, "when": {DECAY: []}}}, "names no value"),
        ({DROPOUT: {**HALF, "when": "sgd"}}, "when must be a mapping of an earlier dimension to its value or values"),
    ],
)
def test_each_mistake_is_named_with_its_dimension(said: Mapping[str, Any], words: str) -> None:
    problems = read(said)[1]
    assert any(words in problem for problem in problems), problems
    assert all(problem.startswith("space.") for problem in problems)


def test_a_condition_on_a_dimension_with_mistakes_adds_none() -> None:
    broken = {TYPE: {"type": "categorical", "choices": []}, DROPOUT: {**HALF, "when": {TYPE: "sgd"}}}
    assert read(broken)[1] == [f"space.{TYPE}: choices must not be empty"]


@pytest.mark.parametrize(
    "key",
    [
        "training.epochs", "training.max_iter", "training.schedule_epochs", "training.subset_size",
        "training.subset_seed", "training.overfit", "training.resize_schedule", "training.eval_interval",
        "data.image_size", "data.data_fraction", "data.max_samples", "data.val_split", "data.split_seed",
        "data.val_subset_size", "seed", "device", "task", "checkpoint.every_n_epochs", "logging.every_n_steps",
        "training.num_epochs", "dataset.image_size", "data.num_samples", "data.train_split", "training.seed",
    ],
)  # fmt: skip
def test_the_budget_cannot_be_searched_under_any_spelling(key: str) -> None:
    space, problems = read({key: {"type": "int", "low": 1, "high": 3}})
    assert not space
    assert problems == [f"space.{key}: belongs to the budget or to the study and cannot be searched"]


def test_a_dimension_that_the_command_line_sets() -> None:
    assert read({"training.lr": {**HALF, "low": 0.1}}, fixed=(LR,))[1] == [
        "space.training.lr: is searched and set on the command line; set it once"
    ]


def test_without_a_base_the_form_is_checked_alone() -> None:
    mistakes = Mistakes()
    said = {DROPOUT: {**HALF, "high": 7.0}, BATCH: {"type": "int", "low": 9, "high": 3}}
    read_space(said, "captioning", None, (), "space", mistakes)
    assert [str(problem) for problem in mistakes.problems] == [f"space.{BATCH}: low must be below high, not 9 and 3"]


ALL_WRONG: dict[str, Any] = {
    "search_space": {
        DROPOUT: {"type": "real"},
        BATCH: {"type": "int", "low": 9, "high": 3, "sep": 2},
        LR: {"type": "float", "low": 0, "high": 1, "log": True},
        TYPE: {"type": "categorical", "choices": []},
        "model.embed_size": {"type": "int", "low": 8, "high": 16, "when": {"model.decoder_dim": 8}},
        "model.decoder_dim": {"type": "int", "low": 8, "high": 16, "when": {"model.width": 8}},
        "training.epochs": {"type": "int", "low": 1, "high": 3},
    },
    "ladder": "3x20@32,2x10@8",
    "search": {"sampler": "tpee", "pruner": "asha", "reduction_factor": 1},
}


def test_all_mistakes_at_once_and_nothing_is_made(command: Command, tmp_path: Path) -> None:
    (tmp_path / "space.json").write_text(json.dumps({"overrides": dict(TINY), **ALL_WRONG}), encoding="utf-8")
    before = tree(tmp_path)
    for name in ("plan", "run"):
        result = command(name, "space.json")
        assert result.exit_code == 2
        assert tree(tmp_path) == before
        for words in (
            f"{DROPOUT}: unknown type 'real'", "'sep' does not belong", "low must be below high",
            "low must be above 0 on a log scale", "choices must not be empty",
            "when.model.decoder_dim: is a later dimension", "when.model.width: is not a searched key",
            "search_space.training.epochs: belongs to the budget", "epochs count from a trial's start and must rise",
            "the subset must not shrink", "the size must not shrink", "unknown sampler 'tpee'", "unknown pruner 'asha'",
            "search.reduction_factor: must be a whole number of at least 2, not 1",
        ):  # fmt: skip
            assert words in result.stderr, words


# in the plan


def planned(folder: Path, said: Mapping[str, Any], trials: tuple[Any, ...] = (), **sections: Any) -> Plan:
    return tiny_plan(folder, trials, search_space=said, **sections)


def test_a_plan_with_a_space(tmp_path: Path) -> None:
    plan = planned(tmp_path, {TYPE: KINDS, MOMENTUM: {**HALF, "when": {TYPE: "sgd"}}}, ({LR: 0.5},))
    assert plan.parameters == (LR, TYPE, MOMENTUM)
    assert plan.sampler == {"name": "tpe", **sampler_kind("tpe").options}
    assert plan.n_trials == 21
    assert any(note == "21 trials, the default; --n-trials N sets the number" for note in plan.notes)
    assert plan_from_plain(parse_yaml(dump_yaml(plan.plain()), "here"), plan.folder) == plan


def test_an_inactive_parameter_has_no_value_and_one_that_a_trial_leaves_out_the_bases(tmp_path: Path) -> None:
    plan = planned(tmp_path, {TYPE: KINDS, MOMENTUM: {**HALF, "when": {TYPE: "sgd"}}}, ({LR: 0.5},))
    base = plan.base["training"]["optimizer"]
    assert plan.values_of({TYPE: "adamw"}) == {LR: base["lr"], TYPE: "adamw"}
    assert plan.values_of({TYPE: "sgd", MOMENTUM: 0.25}) == {LR: base["lr"], TYPE: "sgd", MOMENTUM: 0.25}


def test_fixed_overrides_hold_where_nothing_is_searched(tmp_path: Path) -> None:
    overrides = {**TINY, TYPE: "sgd", "model.dropout": 0.4}
    plan = planned(tmp_path, {MOMENTUM: HALF}, overrides=overrides)
    config = plan.search_config({MOMENTUM: 0.3}, plan.top)
    assert (config.training.optimizer.type, config.training.optimizer.momentum, config.model.dropout) == (
        "sgd", 0.3, 0.4,
    )  # fmt: skip


def test_trials_to_try_first_may_lie_outside_the_space_or_set_other_keys(tmp_path: Path) -> None:
    plan = planned(tmp_path, {DROPOUT: HALF}, ({DROPOUT: 0.9}, {BATCH: 4}), search={"n_trials": 3})
    assert (len(plan.trials), plan.n_trials) == (2, 3)
    assert plan.shapes[DROPOUT]["high"] == 0.5
    assert plan.values_of(plan.trials[0])[DROPOUT] == 0.9


def test_a_bare_list_takes_no_sampler_and_a_space_may_have_no_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a sampler needs a search_space"):
        tiny_plan(tmp_path, [0.1], search={"sampler": "tpe"})
    assert planned(tmp_path, {DROPOUT: HALF}).trials == ()


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({DROPOUT: HALF}, f"sampler grid: {DROPOUT}: needs a step, or a list of choices"),
        (
            {BATCH: {"type": "int", "low": 1, "high": 4096}, "model.embed_size": {"type": "int", "low": 8, "high": 99}},
            "sampler grid: the grid has 376832 points; at most 100000 are allowed",
        ),
    ],
)
def test_a_grid_must_be_finite(tmp_path: Path, space: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, space, search={"sampler": "grid"})
    assert words in str(caught.value)


def test_a_grid_says_by_itself_how_many_trials_there_are(tmp_path: Path) -> None:
    space = {DROPOUT: {**HALF, "step": 0.25}, BATCH: {"type": "int", "low": 4, "high": 5}}
    assert planned(tmp_path, space, ({DROPOUT: 0.1},), search={"sampler": "grid"}).n_trials == 7
    assert planned(tmp_path, space, search={"sampler": "grid", "n_trials": 4}).n_trials == 4
