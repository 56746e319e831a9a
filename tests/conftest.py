"""What all tests share: one cache folder for each process, and studies that are run once for all processes."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

# Before anything imports torch, and for the processes that tests start: many small models on few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

SharedFolder = Callable[[str, Callable[[Path], object]], Path]


def pytest_configure(config: pytest.Config) -> None:
    """In CI a warning is an error. Elsewhere it is not: libraries of tomorrow warn of what works today."""
    if os.environ.get("RUNGWISE_WARNINGS") == "error":
        config.getini("filterwarnings")[:0] = ["error", "ignore::ResourceWarning"]  # whose moment is not the test's


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


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> SharedFolder:
    """`shared_folder(name, fill)` is a folder that the first process fills while others wait. Tests only read it."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent  # the folder that all workers of the session have in common

    def shared(name: str, fill: Callable[[Path], object]) -> Path:
        folder, filled = common / f"shared-{name}", common / f"shared-{name}.filled"
        with (common / f"shared-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not filled.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                filled.touch()
        return folder

    return shared
