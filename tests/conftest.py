"""What all tests share: one cache folder for the session, so that the built-in scenes are drawn once."""

from __future__ import annotations

import os
from collections.abc import Iterator

# Before anything imports torch, and for the processes that tests start: many small models on few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the cache of the person who runs it."""
    before = os.environ.get("RUNGWISE_CACHE")
    os.environ["RUNGWISE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["RUNGWISE_CACHE"]
    else:
        os.environ["RUNGWISE_CACHE"] = before
