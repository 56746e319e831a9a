"""The undisturbed study that every fault is compared with, and boxes for the disturbed ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_parts import SMALL, NewBox, StudyBox


@pytest.fixture
def box(tmp_path: Path) -> Iterator[NewBox]:
    """Makes studies in folders of their own; whatever still runs at the end of the test is ended."""
    made: list[StudyBox] = []

    def new(content: Any = SMALL, *arguments: str, name: str = "small", folder: str = "") -> StudyBox:
        made.append(StudyBox(tmp_path / (folder or f"box{len(made)}"), content, arguments, name))
        return made[-1]

    yield new
    for one in made:
        one.kill_all()


@pytest.fixture(scope="session")
def oracle(shared_folder: Callable[..., Path]) -> StudyBox:
    """The study of `SMALL` with its best trial promoted, run once without any fault."""

    def fill(folder: Path) -> None:
        one = StudyBox(folder / "box", SMALL)
        one.run("--promote", "1")
        assert [row["status"] for row in one.rows()].count("running") == 0

    return StudyBox(shared_folder("oracle", fill) / "box", SMALL)


@pytest.fixture
def finished(oracle: StudyBox, tmp_path: Path) -> StudyBox:
    """A copy of the finished study, for what happens to a study afterwards."""
    shutil.copytree(oracle.folder, tmp_path / "box")
    return StudyBox(tmp_path / "box", SMALL, ("--promote", "1"))
