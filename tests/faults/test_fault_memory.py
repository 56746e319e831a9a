"""Out of memory in a study: the trial goes on in smaller parts and completes, with the numbers it would have had."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_parts import OVERRIDES, SMALL, NewBox, StudyBox

# Parts of a batch add up to the whole one without dropout and BatchNorm.
STILL = {
    **SMALL,
    "overrides": {**OVERRIDES, "model.dropout": 0.0, "model.encoder_fine_tune": False},
    "search": {"pruner": "none"},
    "trials": [{"training.optimizer.lr": 0.01}, {"training.optimizer.lr": 0.003}],
}


def close(one: StudyBox, other: StudyBox) -> None:
    mine, theirs = one.metrics(), other.metrics()
    assert mine.keys() == theirs.keys()
    for run, lines in theirs.items():
        for mine_line, line in zip(mine[run], lines, strict=True):
            assert mine_line["step"] == line["step"]
            assert mine_line["metrics"] == pytest.approx(line["metrics"], rel=1e-5, abs=1e-5)


# Calls of the model before: none; 6 of the first epoch's training and the first evaluation's; into the second epoch.
@pytest.mark.slow
@pytest.mark.parametrize("from_call", [1, 7, 12], ids=["first step", "evaluation", "later epoch"])
def test_a_trial_without_memory_completes(
    from_call: int, box: NewBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = box(STILL, folder="plain")
    plain.run()
    one = box(STILL, folder="short")
    # What one run finds serves those after it, so this study gets a cache of its own.
    monkeypatch.setenv("RUNGWISE_CACHE", str(tmp_path / "cache"))
    one.environment["RUNGWISE_NO_MEMORY"] = f"trainer.tasks.captioning.model:Captioner.image_vectors:8:{from_call}"
    one.run()
    assert [row["status"] for row in one.rows()] == ["completed", "completed"]
    close(one, plain)
    first, second = [(one.trial(number) / "log.txt").read_text("utf-8") for number in (1, 2)]
    assert "goes on with 8 (the effective batch stays 16)" in first
    assert "out of memory in evaluation with micro-batches of 12; goes on with 6" in first
    assert "out of memory" not in second, "the next trial starts with what fitted"
    assert "training in micro-batches of 8" in second
    assert [row["retries"] for row in one.rows()] == ["0", "0"]
