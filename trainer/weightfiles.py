"""Files of weights that a configuration names: whether they are there, before anything runs. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from trainer.config import RunConfig
from trainer.errors import DataError


def require_start(config: RunConfig, weights: Path | None) -> None:
    """`DataError` where the file that a run starts from is not there; one that takes over a checkpoint needs none."""
    if config.checkpoint.resume is None and config.checkpoint.weights is None:
        require_weights("model.weights", weights)


def require_weights(key: str, path: Path | None) -> None:
    """`DataError` where a key names a file that is not there."""
    if path is not None and not path.is_file():
        raise DataError(f"{path}: no such file of weights ({key})")
