"""The cache folder: what is worth keeping between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$RUNGWISE_CACHE`, else `$XDG_CACHE_HOME/rungwise`, else `~/.cache/rungwise`."""
    named = os.environ.get("RUNGWISE_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rungwise"
