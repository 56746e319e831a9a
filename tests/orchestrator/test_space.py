"""From the schema's keys to Optuna's distributions."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.trial import TrialState, create_trial

from orchestrator.study.ladder import refused_in_trials
from orchestrator.study.space import as_json, distribution, optuna_value, shape_of
from trainer.api import Key, known_keys

KEYS = known_keys("captioning")


def made(name: str, *values: Any) -> BaseDistribution:
    return distribution(shape_of(KEYS[name], values))


def test_distributions_of_well_known_keys() -> None:
    assert made("training.optimizer.lr", 1e-3) == FloatDistribution(1e-8, 10.0, log=True)
    assert made("training.batch_size", 4, 8) == IntDistribution(1, 4096, log=True)
    assert made("training.accumulate_grad_batches", 2) == IntDistribution(1, 256)
    assert made("model.encoder_fine_tune", True) == CategoricalDistribution([False, True])
    assert made("training.optimizer.type", "adam") == CategoricalDistribution(["adam", "adamw", "sgd", "rmsprop"])
    dropout = made("model.dropout", 0.1)
    assert isinstance(dropout, FloatDistribution)
    assert (dropout.low, dropout.log) == (0.0, False)
    assert dropout.high < 1.0


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("training.optimizer.weight_decay", [None, 0.01]),
        ("training.optimizer.betas", [[0.9, 0.999], [0.8, 0.99], None]),
        ("training.optimizer.encoder_lr", [None]),
        ("model.weights", [None, "a.pth"]),
    ],
)
def test_null_lists_and_texts_are_categorical_json(name: str, values: list[Any]) -> None:
    shape = shape_of(KEYS[name], values)
    assert distribution(shape) == CategoricalDistribution(sorted({as_json(value) for value in values}))
    for value in values:
        fits, stored = optuna_value(shape, value)
        assert fits
        assert json.loads(stored) == value


@pytest.mark.parametrize("name", sorted(KEYS))
def test_every_key_has_a_distribution_that_holds_its_default(name: str) -> None:
    default = KEYS[name].default
    default = str(default) if KEYS[name].kind == "path" and default is not None else default
    shape = shape_of(KEYS[name], [default])
    json.dumps(shape)  # plain data, for the plan
    fits, stored = optuna_value(shape, default)
    if fits:
        create_trial(
            state=TrialState.RUNNING, params={name: stored}, distributions={name: distribution(shape)}
        )  # Optuna checks the value itself


BOUNDED = sorted(
    name
    for name, key in KEYS.items()
    if key.kind in ("int", "float")
    and not key.nullable
    and key.low is not None
    and key.high is not None
    and not refused_in_trials(key)
)


@given(st.sampled_from(BOUNDED), st.data())
def test_a_longer_list_never_changes_a_bounded_distribution(name: str, data: st.DataObject) -> None:
    key = KEYS[name]
    assert key.low is not None
    assert key.high is not None
    inside = st.floats(key.low, key.high) if key.kind == "float" else st.integers(int(key.low), int(key.high))
    few = data.draw(st.lists(inside, min_size=1, max_size=3))
    more = [*few, *data.draw(st.lists(inside | st.floats(-1e9, 1e9), min_size=1, max_size=3))]
    assert shape_of(key, few) == shape_of(key, more)
    check_distribution_compatibility(made(name, *few), made(name, *more))


@given(st.sampled_from(BOUNDED), st.data())
def test_bounded_values_round_trip_through_optuna(name: str, data: st.DataObject) -> None:
    key = KEYS[name]
    shape = shape_of(key, [])
    low, high = shape["low"], shape["high"]
    value = data.draw(st.floats(low, high) if key.kind == "float" else st.integers(low, high))
    fits, stored = optuna_value(shape, value)
    assert (fits, stored) == (True, value)
    found = distribution(shape)
    assert found.to_external_repr(found.to_internal_repr(stored)) == value


@given(st.sampled_from(BOUNDED), st.floats(1e-6, 1e6))
def test_values_outside_do_not_fit(name: str, far: float) -> None:
    shape = shape_of(KEYS[name], [])
    for value in (shape["low"] - far, shape["high"] + far, None, "text"):
        assert optuna_value(shape, value) == (False, value)


@given(
    st.lists(
        st.none()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
        | st.lists(st.integers() | st.text(), max_size=3),
        min_size=1,
    )
)
def test_json_shapes_hold_exactly_their_values(values: list[Any]) -> None:
    key = Key("some.key", "list", True, None, "any value")
    shape = shape_of(key, values)
    assert shape == shape_of(key, list(reversed(values)))
    for value in values:
        fits, text = optuna_value(shape, value)
        assert fits
        assert json.loads(text) == value
    assert optuna_value(shape, {"not": "there"})[0] is False


@given(st.dictionaries(st.text(), st.integers() | st.lists(st.text())))
def test_one_text_for_one_value(value: dict[str, Any]) -> None:
    assert as_json(value) == as_json(dict(reversed(value.items())))
    assert json.loads(as_json(value)) == value


def test_log_scale_only_where_the_range_is_above_zero() -> None:
    for name in BOUNDED:
        shape = shape_of(KEYS[name], [])
        assert not (shape["log"] and shape["low"] <= 0)
        assert math.isfinite(shape["low"])
        assert math.isfinite(shape["high"])
