"""The checkpoint that `checkpoint.resume` names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.checkpoint import LAST, load_checkpoint, load_newest
from trainer.errors import CheckpointError


def load_for_resume(path: Path) -> tuple[dict[str, Any], Path, Sequence[str]]:
    """State, the file that it came from, and a word on each damaged file passed over.

    A folder stands for its newest checkpoint; a damaged `last.pth` for the one before it.
    """
    if path.is_dir() or path.name == LAST:
        folder = path if path.is_dir() else path.parent
        found = load_newest(folder)
        if found is None:
            raise CheckpointError(f"{path}: no such checkpoint")
        return found
    return load_checkpoint(path), path, ()
