"""The small text files of a run: `metrics.jsonl`, samples. Imports no torch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

METRICS, SAMPLES = "metrics.jsonl", "samples"


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces a small file in one move; a text as UTF-8."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # of a write that failed


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The evaluations in a `metrics.jsonl`; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
