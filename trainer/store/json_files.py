"""JSON and JSON lines, told apart by content. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.errors import DataError
from trainer.store.text import read_text


def json_content(path: Path) -> Any:
    """The value in a JSON file; for JSON lines the list of their values, one a line; None for a file of another kind.

    `DataError` names the line of a mistake. A file of one line is the value in it. Source: RFC 8259; jsonlines.org.
    """
    return json_of(path, read_text(path))


def json_of(path: Path, text: str) -> Any:
    """The same of a text that was read from a file."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        if len(lines) > 1 and _is_json(lines[0][1]):
            return [_value(path, number, line) for number, line in lines]
        raise DataError(f"{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg})") from None
    except RecursionError:
        raise DataError(f"{path}: not readable as JSON (nested too deeply)") from None


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _value(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{path}, line {number}: not JSON (each line must be one JSON value)") from None
