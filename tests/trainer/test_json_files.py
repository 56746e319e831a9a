"""JSON and JSON lines are told apart by their content, and a mistake is named by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.errors import DataError
from trainer.store.json_files import json_content


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('\ufeff [{"a": 1},\n {"b": 2}]', [{"a": 1}, {"b": 2}]),
        ('{"a": 1}\n\n{"b": "\u2028"}\r\n', [{"a": 1}, {"b": "\u2028"}]),
        ("image,caption\na.png,[x]\n", None),
        ("", None),
    ],
)
def test_what_a_file_holds(tmp_path: Path, text: str, value: object) -> None:
    (tmp_path / "file").write_text(text, encoding="utf-8")
    assert json_content(tmp_path / "file") == value


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b'{"a": 1}\n{"b": \n{"c": 3}\n', "line 2: not JSON"),
        (b'{"a": 1,\n "b" 2}', "line 2, column 6: not JSON"),
        (b'{"a": 1}\n{"b": "\xff"}\n', "line 2: not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_mistake_is_named_by_its_line(tmp_path: Path, content: bytes, where: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=where):
        json_content(tmp_path / "file")
