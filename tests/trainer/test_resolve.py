"""YAML, mappings and dotted overrides become one validated configuration, or one list of every mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from trainer_parts import TINY

from trainer.api import (
    ConfigError,
    canonical_overrides,
    dump_yaml,
    known_keys,
    parse_assignments,
    parse_yaml,
    resolve_config,
    task_of,
)


def mistakes(*layers: Any) -> dict[str, str]:
    """Where → what of the `ConfigError` that the layers over the tiny configuration lead to."""
    with pytest.raises(ConfigError) as caught:
        resolve_config(TINY, *layers)
    return {problem.where: problem.what for problem in caught.value.problems}


def test_every_mistake_comes_at_once_with_its_path_and_a_suggestion() -> None:
    found = mistakes(
        {
            "training.optimizer.learning_rat": 1e-3,
            "training.batch_size": "four",
            "training.epochs": True,
            "training.precision": "b16",
            "data.val_split": 1.5,
            "model": 7,
            "seed": {"value": 1},
        }
    )
    assert found["training.optimizer.learning_rat"].startswith("unknown key")
    assert "did you mean training.optimizer.lr?" in found["training.optimizer.learning_rat"]
    assert found["training.batch_size"] == "must be a whole number, not 'four'"
    assert found["training.epochs"] == "must be a whole number, not True"
    assert "one of auto, bf16, fp16, fp32" in found["training.precision"]
    assert "did you mean bf16?" in found["training.precision"]
    assert "less than 1" in found["data.val_split"]
    assert "1.5" in found["data.val_split"]
    assert "is a section, not a value (7)" in found["model"]
    assert "set one of its keys, such as model." in found["model"]
    assert found["seed"] == "is a value, not a section; it takes no keys of its own"
    assert len(found) == 7


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("training.optimzer.lr", "training.optimizer.lr"),
        ("training.batchsize", "training.batch_size"),
        ("batch_size", "training.batch_size"),
        ("model.droput", "model.dropout"),
        ("early_stopping.patence", "training.early_stopping.patience"),
    ],
)
def test_the_nearest_known_key_is_suggested_in_canonical_form(misspelt: str, meant: str) -> None:
    assert mistakes({misspelt: 1})[misspelt] == f"unknown key; did you mean {meant}?"


def test_an_unknown_empty_section_is_a_mistake_too() -> None:
    assert "unknown key" in mistakes({"trainig": {}})["trainig"]
    assert "unknown key" in mistakes({"trainig": None})["trainig"]
    assert resolve_config(TINY, {"training": None, "lr_scheduler": {}, "early_stopping": None}) == resolve_config(TINY)


@pytest.mark.parametrize("value", [1e-4, "1e-4", "0.0001", "  1e-4 "])
def test_numbers_may_come_as_text(value: Any) -> None:
    assert resolve_config(TINY, json.loads(json.dumps({"training.optimizer.lr": value}))).training.optimizer.lr == 1e-4


@pytest.mark.parametrize(("value", "meant"), [(16, 16), (16.0, 16), ("16", 16), ("1_6", 16), ("1.6e1", 16)])
def test_whole_numbers_in_any_clothes(value: Any, meant: int) -> None:
    batch_size = resolve_config(TINY, {"training.batch_size": value}).training.batch_size
    assert (batch_size, type(batch_size)) == (meant, int)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.batch_size", 1.5),
        ("training.batch_size", "1__6"),
        ("training.batch_size", "9" * 400),
        ("training.batch_size", 10**400),
        ("training.batch_size", [16]),
        ("training.batch_size", None),
        ("training.optimizer.lr", "fast"),
        ("training.optimizer.lr", False),
        ("training.optimizer.lr", float("nan")),
        ("training.optimizer.lr", "1e999"),
        ("training.overfit", 1),
        ("training.overfit", "true"),
        ("training.optimizer.type", "Adamm"),
        ("training.optimizer.betas", 0.9),
        ("training.optimizer.betas", [0.9]),
        ("training.optimizer.betas", [0.9, 1.0]),
        ("experiment_name", 3),
        ("checkpoint.dir", 3),
        ("device", "tpu"),
        ("seed", -1),
        ("training.grad_clip", -0.1),
    ],
)
def test_a_value_of_the_wrong_kind_or_out_of_bounds_is_named(key: str, value: Any) -> None:
    found = mistakes({key: value})
    assert len(found) == 1
    assert next(iter(found)).startswith(key)


@pytest.mark.parametrize(
    ("overrides", "where", "words"),
    [
        ({"training.optimizer.momentum": 0.9}, "training.optimizer", "adam does not take momentum"),
        (
            {"training.optimizer.type": "sgd", "training.optimizer.nesterov": True},
            "training.optimizer",
            "nesterov needs a momentum",
        ),
        ({"model.pretrained": True}, "model", "resnet10_thin has no pretrained weights"),
        ({"data.images_dir": "pictures"}, "data", "images_dir and caption_file belong together"),
        ({"data.caption_file": "captions.csv"}, "data", "images_dir and caption_file belong together"),
        ({"data.scenes": None}, "data", "name images_dir and caption_file, or a scenes section"),
    ],
)
def test_keys_that_contradict_each_other(overrides: dict[str, Any], where: str, words: str) -> None:
    assert words in mistakes(overrides)[where]


def test_two_spellings_of_one_key_in_one_layer_are_a_mistake() -> None:
    found = mistakes({"training.lr": 1e-3, "training": {"optimizer": {"lr": 1e-4}}})
    assert found == {"training.optimizer.lr": "is set twice (training.lr and training.optimizer.lr are the same key)"}
    dotted_and_nested = mistakes({"training.batch_size": 4, "training": {"batch_size": 8}})
    assert "is set twice" in dotted_and_nested["training.batch_size"]


def test_later_layers_win_in_any_spelling() -> None:
    config = resolve_config(TINY, {"training.lr": 1.0}, {"training": {"optimizer": {"lr": 2.0}}}, {"optimizer.lr": 3.0})
    assert config.training.optimizer.lr == 3.0
    assert config.training.optimizer.type == TINY["training"]["optimizer"]["type"]


def test_null_where_it_is_allowed() -> None:
    config = resolve_config(TINY, {"training.schedule_epochs": None, "training.max_iter": None})
    assert config.training.schedule_epochs is None
    assert config.schedule_epochs == config.training.epochs
    assert mistakes({"training.epochs": None})["training.epochs"] == "must be a whole number, not null"


def test_a_section_set_to_null_later_is_gone_and_a_key_brings_it_back() -> None:
    files = {"data.images_dir": "pictures", "data.caption_file": "captions.csv"}
    gone = resolve_config(TINY, files, {"data.scenes": None})
    assert gone.data.scenes is None
    assert resolve_config(TINY, {"data.scenes": {}}) == resolve_config(TINY)
    assert resolve_config(TINY, files, {"data.scenes": None}, {"data": {"scenes": {}}}).data.scenes is not None
    back = resolve_config(TINY, files, {"data": {"scenes": None}}, {"data.scenes.images": 50})
    assert back.data.scenes.images == 50
    assert back.data.scenes.size == known_keys("captioning")["data.scenes.size"].default


def test_the_task_must_be_named_and_known() -> None:
    with pytest.raises(ConfigError, match="name one of: captioning"):
        task_of({"seed": 1})
    with pytest.raises(ConfigError, match="unknown task 'captionin'; did you mean captioning"):
        resolve_config({"task": "captionin"})
    assert task_of({"task": "nonsense"}, {"task": "captioning"}) == "captioning"


def test_assignments_are_yaml_and_every_bad_one_is_named() -> None:
    assert parse_assignments(["a.b=1e-4", "c=[1, two]", "d=null", "e=x=y", "f="]) == {
        "a.b": 1e-4,
        "c": [1, "two"],
        "d": None,
        "e": "x=y",
        "f": None,
    }
    with pytest.raises(ConfigError) as caught:
        parse_assignments(["novalue", "a=1", "a=2", "=3"])
    assert [problem.where for problem in caught.value.problems] == ["novalue", "a", "=3"]


def test_paths_are_made_absolute_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = resolve_config({**TINY, "checkpoint": {"dir": "here/../there", "resume": "last.pth"}})
    assert config.checkpoint.dir == tmp_path / "there"
    assert config.checkpoint.resume == tmp_path / "last.pth"
    assert config.logging_dir == config.checkpoint.dir
    assert resolve_config({"task": "captioning", "data": {"scenes": {}}}).checkpoint.dir == tmp_path / "checkpoints"


def test_the_configuration_is_frozen() -> None:
    config = resolve_config(TINY)
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 3


WHOLE = st.integers(1, 1000)
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "experiment_name": st.text(min_size=1, max_size=20).filter(lambda text: "\x00" not in text),
        "data.image_size": st.integers(16, 4096),
        "data.val_split": st.floats(0.01, 0.99),
        "data.split_seed": st.none() | WHOLE,
        "data.scenes": st.none() | st.fixed_dictionaries({"images": st.integers(10, 50)}),
        "data.images_dir": st.just("/pictures"),
        "data.caption_file": st.just("/captions.csv"),
        "model.dropout": st.floats(0.0, 0.99),
        "training.epochs": WHOLE,
        "training.schedule_epochs": st.none() | WHOLE,
        "training.batch_size": WHOLE,
        "training.precision": st.sampled_from(["auto", "bf16", "fp16", "fp32"]),
        "training.overfit": st.booleans(),
        "training.optimizer.lr": st.floats(1e-12, 1e3),
        "training.optimizer.betas": st.none() | st.lists(st.floats(0.0, 0.99), min_size=2, max_size=2),
        "training.scheduler.type": st.sampled_from(["step", "cosine", "one_cycle", "constant"]),
        "checkpoint.dir": st.sampled_from(["out", "/out", "../out"]),
    },
).filter(lambda drawn: ("data.images_dir" in drawn) == ("data.caption_file" in drawn))


@given(OVERRIDES)
@example({"experiment_name": "\x85"})
@example({"experiment_name": "a\u2028b"})
def test_a_resolved_configuration_resolves_to_itself(overrides: dict[str, Any]) -> None:
    if overrides.get("data.scenes", 1) is None and "data.images_dir" not in overrides:
        del overrides["data.scenes"]
    config = resolve_config(TINY, overrides)
    assert resolve_config(config.plain()) == config
    assert resolve_config(parse_yaml(dump_yaml(config.plain()), "here")) == config
    assert resolve_config(json.loads(json.dumps(config.plain()))) == config


@given(OVERRIDES)
def test_dotted_and_nested_say_the_same(overrides: dict[str, Any]) -> None:
    nested: dict[str, Any] = {}
    for key, value in overrides.items():
        *parents, name = key.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    assert canonical_overrides(nested, "captioning") == canonical_overrides(overrides, "captioning")


def test_every_key_carries_its_meaning_and_a_default_of_its_kind() -> None:
    kinds = {"int": int, "float": (int, float), "bool": bool, "str": str, "path": (str, Path)}
    for path, key in known_keys("captioning").items():
        assert key.meaning, path
        if key.default is None:
            assert key.nullable or path in ("task",), path
        elif key.kind == "choice":
            assert key.default in key.choices, path
        else:
            assert isinstance(key.default, kinds[key.kind]), path  # type: ignore[arg-type]
        if key.low is not None and key.high is not None:
            assert key.low < key.high, path
        assert not key.log or (key.low or 0.0) > 0.0, path
