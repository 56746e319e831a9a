"""The generated page of the configuration is the schema's."""

from __future__ import annotations

from pathlib import Path

from trainer.api import known_keys, tasks
from trainer.config.describe import commented_yaml, configuration_markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_the_page_is_current() -> None:
    hint = "run: python -m trainer config --markdown > docs/configuration.md"
    assert PAGE.read_text(encoding="utf-8") == configuration_markdown(), hint


def test_every_key_has_a_meaning() -> None:
    for task in tasks():
        assert not [path for path, key in known_keys(task).items() if not key.meaning]
        assert commented_yaml(task)
