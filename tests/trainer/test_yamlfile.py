"""YAML as people mean it, from files that may be anybody's."""

from __future__ import annotations

from pathlib import Path

import pytest
from trainer_parts import TINY

from trainer.api import ConfigError, dump_yaml, load_config, parse_yaml


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", ".0001", "+1e-4"])
def test_yaml_reads_a_float_without_a_dot(text: str) -> None:
    assert parse_yaml(f"lr: {text}", "here") == {"lr": 1e-4}


@pytest.mark.parametrize("value", [1e-4, "1e-4", "1e4", "on", "~", 3, "3", None, [1, "2"], {"a": {"b": ["1e-4", 1.0]}}])
def test_what_is_written_is_read_back(value: object) -> None:
    assert parse_yaml(dump_yaml({"key": value}), "here") == {"key": value}


def test_a_repeated_key_in_a_file_is_found_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("task: captioning\ntraining:\n  epochs: 3\n  batch_size: 4\n  epochs: 5\n")
    with pytest.raises(ConfigError, match=r"config\.yaml, line 5.*'epochs' is set twice"):
        load_config(path)


def test_a_merge_key_brings_defaults_that_may_be_repeated() -> None:
    text = "one: &one {a: 1, b: 2}\ntwo:\n  <<: *one\n  b: 3\n"
    assert parse_yaml(text, "here")["two"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    "text",
    [
        "seed: !!python/object/apply:os.system ['touch {0}']",
        "!!python/object/new:os.system ['touch {0}']",
        "seed: !!python/name:os.system",
        "seed: &a [*a",
        "[1]: 2",
        "&a {b: *a}",
        "seed: '\x00'",
    ],
)
def test_yaml_that_is_broken_or_would_run_code_is_refused(text: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "config.yaml", tmp_path / "ran"
    path.write_text(text.replace("{0}", str(mark)))
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_config(path)
    assert not mark.exists()


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("experiment_name: caf\xe9".encode("latin-1"))
    listed = tmp_path / "list.yaml"
    listed.write_text("- a\n- b\n")
    for path, words in (
        (tmp_path / "missing.yaml", "no such file"),
        (tmp_path, "cannot be read"),
        (latin, "not UTF-8"),
        (listed, "expected a mapping"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            load_config(path)
        assert str(path) in str(caught.value)


def test_a_mistake_names_the_file_only_where_the_file_made_it(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(dump_yaml(TINY) + "speed: 3\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"training.sped": 4})
    assert [problem.where for problem in caught.value.problems] == [f"{path}: speed", "training.sped"]
