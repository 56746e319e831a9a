"""The small text files of a run: `metrics.jsonl`, samples. Imports no torch."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

METRICS, SAMPLES = "metrics.jsonl", "samples"
# A spreadsheet reads a cell that begins with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces a small file in one move; a text as UTF-8."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # of a write that failed


def csv_text(header: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """A table as CSV. Texts that a spreadsheet would run get a leading apostrophe; numbers stay numbers."""
    lines = [_csv_line(header), *(_csv_line([row[name] for name in header]) for row in rows)]
    return "".join(lines).encode("utf-8", "backslashreplace").decode()  # a file's name need not be Unicode


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(map(_harmless, cells))  # quotes what holds either line end
    return f"{line.getvalue()[:-2]}\n"


def _harmless(cell: str) -> str:
    if not cell.startswith(FORMULA_STARTS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


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
