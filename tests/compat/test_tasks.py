"""A tiny run of each task: the losses of before, the same keys and files, the same structure of the checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from compat_parts import MATCHED, golden
from task_parts import TASKS, facts_of


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_tiny_run_is_what_it_was(task: str, tmp_path: Path) -> None:
    recorded, found = golden(f"tasks/{task}.json"), facts_of(task, tmp_path)
    assert len(found["losses"]) == len(recorded["losses"])
    for before, now in zip(recorded["losses"], found["losses"], strict=True):
        assert now == pytest.approx(before, rel=MATCHED if task == "detection" else 1e-4)
    for part in ("metrics", "files", "checkpoint"):
        assert found[part] == recorded[part], part
