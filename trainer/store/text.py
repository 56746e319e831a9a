"""Text files: the user's, as they were saved, and the small ones of a run (`metrics.jsonl`). Imports no torch."""

from __future__ import annotations

import codecs
import json
import os
from pathlib import Path
from typing import Any

from trainer.errors import DataError

METRICS, SAMPLES = "metrics.jsonl", "samples"


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces a small file in one step; a text is written as UTF-8.

    A file name need not be valid Unicode: what is not is escaped as in JSON, where it is read again as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # of a write that failed


def read_text(path: Path, unit: str = "line") -> str:
    """A text in UTF-8, or in UTF-16 where its byte order mark says so, without that mark and with its own line ends.

    `DataError` names the first line, as a `unit`, that is not.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
        end = text.find("\0")  # UTF-16 without its mark, UTF-32
    except UnicodeDecodeError as error:
        text = error.object[: error.start].decode("utf-16" if wide else "utf-8", "replace")
        end = len(text)
    if end >= 0:
        line = text.count("\n", 0, end) + 1
        raise DataError(f"{path}, {unit} {line}: not UTF-{16 if wide else 8} text; save the file as UTF-8")
    return text


def half_a_character(text: str) -> bool:
    """Whether a text holds half of a surrogate pair, as damaged JSON does, which no file can be written with."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The evaluations in a `metrics.jsonl`; a line that a kill cut short, or that is damaged, is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_bytes().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if _is_evaluation(line):
            lines.append(line)
    return lines


def _is_evaluation(line: Any) -> bool:
    if not isinstance(line, dict) or not isinstance(line.get("metrics"), dict):
        return False
    numbers = [line.get("seconds"), *line["metrics"].values()]
    whole = [line.get(name) for name in ("epoch", "step", "rung")]
    return all(isinstance(n, int | float) for n in numbers) and all(isinstance(n, int) for n in whole)
