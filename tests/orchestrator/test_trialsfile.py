"""The trials file as it is read: two forms, two notations, and every mistake at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.trials_file import SECTIONS, read_trials_file, seconds
from trainer.api import ConfigError

ONE = [{"training.optimizer.lr": 1e-3}]


def written(folder: Path, content: Any, name: str = "trials.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    """What is wrong with a file, whether reading it raises that or hands it on."""
    try:
        return [str(problem) for problem in read_trials_file(path).problems]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


def test_a_bare_list_is_a_file_with_trials_only(tmp_path: Path) -> None:
    file = read_trials_file(written(tmp_path, [{"training.optimizer.lr": 1e-4}, {}]))
    assert file.trials == ({"training.optimizer.lr": 1e-4}, {})
    assert (file.base_config, file.overrides, file.budget, file.search, file.limits, file.promote) == (
        None, {}, {}, {}, {}, {},
    )  # fmt: skip
    assert not file.problems


def test_a_mapping_may_say_everything(tmp_path: Path) -> None:
    content = {
        "base_config": "base.yaml",
        "overrides": {"seed": 3},
        "trials": ONE,
        "search_space": {"model.dropout": {"type": "float", "low": 0.0, "high": 0.5}},
        "budget": {"epochs": 2, "subset": 10, "size": 64, "val_subset": 5},
        "ladder": "1x10@32,2x20@32",
        "search": {
            "sampler": "random",
            "pruner": "median",
            "n_trials": 4,
            "seed": 1,
            "reduction_factor": 2,
            "early_stop_threshold": 20,
        },
        "limits": {"timeout": "2h", "stall_timeout": "5m", "max_gpu_hours": 1, "max_failures": 2},
        "promote": {"top": 2, "seeds": 3},
    }
    file = read_trials_file(written(tmp_path, content))
    for name in SECTIONS:
        expected = tuple(content["trials"]) if name == "trials" else content[name]
        assert getattr(file, "space" if name == "search_space" else name) == expected
    assert not file.problems


def test_a_space_needs_no_trials(tmp_path: Path) -> None:
    file = read_trials_file(written(tmp_path, {"search_space": {"model.dropout": {"type": "float"}}}))
    assert (file.trials, list(file.space), file.problems) == ((), ["model.dropout"], ())


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"search_space": {}}, "search_space: must be a mapping of dotted keys to dimensions, at least one"),
        ({"search_space": [1]}, "search_space: must be a mapping of dotted keys to dimensions, at least one"),
        ({"search_space": None}, "search_space: must be a mapping"),
        ({"ladder": 3}, "ladder: must be text such as 1x250@96,3x500@160, a list of rungs or auto, not 3"),
        ({"ladder": []}, "ladder: must be text such as"),
        ({"search": {"reduction": 3}}, "search.reduction: unknown; known are seed, reduction_factor, n_trials"),
    ],
)
def test_mistakes_in_the_form_of_space_and_ladder(tmp_path: Path, sections: dict[str, Any], words: str) -> None:
    assert any(words in problem for problem in problems(written(tmp_path, {"trials": ONE, **sections})))


def test_promote_may_be_a_bare_number(tmp_path: Path) -> None:
    assert read_trials_file(written(tmp_path, {"trials": ONE, "promote": 2})).promote == {"top": 2}


@pytest.mark.parametrize("name", ["trials.yaml", "trials.yml", "trials.YAML"])
def test_yaml_by_its_ending(tmp_path: Path, name: str) -> None:
    file = read_trials_file(written(tmp_path, "- training.optimizer.lr: 1e-4\n- {}\n", name))
    assert file.trials == ({"training.optimizer.lr": 1e-4}, {})


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "trials.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ONE).encode())
    assert read_trials_file(path).trials == tuple(ONE)


@given(
    st.lists(
        st.dictionaries(
            st.text(min_size=1, max_size=20),
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            max_size=4,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_json_says_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, trials: list[dict[str, Any]]) -> None:
    path = written(tmp_path_factory.mktemp("any"), trials)
    assert read_trials_file(path).trials == tuple(trials)


@pytest.mark.slow
@given(
    st.lists(st.dictionaries(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8})?", fullmatch=True), st.integers()), min_size=1)
)
def test_json_and_yaml_say_the_same(tmp_path_factory: pytest.TempPathFactory, trials: list[dict[str, int]]) -> None:
    folder = tmp_path_factory.mktemp("both")
    as_yaml = written(folder, yaml.safe_dump(trials), "trials.yaml")
    assert read_trials_file(as_yaml).trials == read_trials_file(written(folder, trials)).trials


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("  \n\t\n", "is empty"),
        ("[]", "holds no trial"),
        ("{}", "holds no trial"),
        ('{"trials": []}', "holds no trial"),
        ('{"trials": {"a": 1}}', "holds no trial"),
        ("3", "expected a list of trials or a mapping, found int"),
        ('"trials"', "found str"),
        ("null", "found NoneType"),
        ('[{"a": NaN}]', "NaN is not a number in JSON"),
        ('[{"a": -Infinity}]', "-Infinity is not a number in JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_files_that_hold_no_trials(tmp_path: Path, content: str, words: str) -> None:
    path = written(tmp_path, content)
    assert [words in problem for problem in problems(path)] == [True]
    assert str(path) in problems(path)[0]


def test_broken_json_names_line_and_column(tmp_path: Path) -> None:
    path = written(tmp_path, '[\n  {"training.optimizer.lr": 1e-3},\n  {"training.batch_size" 4}\n]')
    assert f"{path}: not valid JSON, line 3 column 26" in problems(path)[0]


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    path = written(tmp_path, "- a: 1\n- b: [1\n", "trials.yaml")
    assert "not valid YAML" in problems(path)[0]
    assert f"{path}, line 3" in problems(path)[0]


def test_a_python_tag_in_yaml_runs_nothing(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    path = written(tmp_path, f'- lr: !!python/object/apply:os.mkdir ["{witness}"]\n', "trials.yaml")
    assert "not valid YAML" in problems(path)[0]
    assert not witness.exists()


def test_no_file_no_text_no_folder(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.json") == [f"{tmp_path / 'none.json'}: no such trials file"]
    (tmp_path / "latin.json").write_bytes(b'[{"a": "\xe9"}]')
    assert problems(tmp_path / "latin.json") == [f"{tmp_path / 'latin.json'}: not UTF-8 text"]
    assert "cannot be read" in problems(tmp_path)[0]


def test_every_mistake_in_the_form_at_once(tmp_path: Path) -> None:
    content = {
        "trials": [3, {"a": 1}, "x", None, [1]],
        "budget": [5],
        "search": {"prunner": "median"},
        "limits": {"time": 3},
        "promote": "best",
        "base_config": 4,
        "overrides": [],
        "trails": [],
    }
    path = written(tmp_path, content)
    found = problems(path)
    for number, shown in ((1, "3"), (3, '"x"'), (4, "null"), (5, "[1]")):
        assert f"{path}, trial {number}: must be an object of dotted keys, not {shown}" in found
    assert not any("trial 2" in problem for problem in found)
    for part in ("budget", "search.prunner", "limits.time", "promote", "base_config", "overrides", "trails"):
        assert any(problem.startswith(f"{path}: {part}:") for problem in found), part
    assert len(found) == 11


def test_keys_that_stand_twice_are_named_with_their_trial(tmp_path: Path) -> None:
    text = '{"trials": [{"a": 1, "a": 2}, {"b": 1}, {"c": {"d": 1, "d": 1}}], "budget": {"epochs": 1, "epochs": 2}}'
    path = written(tmp_path, text)
    assert sorted(problems(path)) == [
        f"{path}, trial 1: the key 'a' is set twice",
        f"{path}, trial 3: c: the key 'd' is set twice",
        f"{path}: budget: the key 'epochs' is set twice",
    ]


def test_keys_that_stand_twice_do_not_hide_other_mistakes(tmp_path: Path) -> None:
    path = written(tmp_path, '{"trials": [{"a": 1, "a": 2}, 7], "trails": []}')
    assert len(problems(path)) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90), (90, 90), (1.5, 1.5), ("90s", 90), ("30m", 1800), (" 2 h ", 7200), ("1.5h", 5400), ("1d", 86400),
        ("", None), ("h", None), ("-5", None), (-5, None), ("2 hours", None), (True, None), (None, None),
        ([1], None), (float("nan"), None), (float("inf"), None), (10**400, None), ("1e3", None),
    ],
)  # fmt: skip
def test_times(text: Any, expected: float | None) -> None:
    assert seconds(text) == expected
