"""The small text files of a run: `metrics.jsonl`, samples. Imports no torch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

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
