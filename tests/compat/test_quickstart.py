"""The quickstart's table, where a finished quickstart is at hand: `RUNGWISE_QUICKSTART=outputs/quickstart pytest …`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from compat_parts import GOLDEN, assert_equal_but_for_times, close, rows

STUDY = Path(os.environ.get("RUNGWISE_QUICKSTART", "/nonexistent"))
pytestmark = pytest.mark.skipif(not STUDY.is_dir(), reason="RUNGWISE_QUICKSTART names no finished quickstart")
RECORDED = GOLDEN / "quickstart"
SHORTEST = 5  # the row of a trial that was pruned after its first epoch


def test_the_quickstart_searches_the_same_trials() -> None:
    before, now = rows(RECORDED / "trials.csv"), rows(STUDY / "trials.csv")
    assert [[*row] for row in before] == [[*row] for row in now]
    for column in (name for name in before[0] if name.startswith("param_") or name == "trial_id"):
        assert [row[column] for row in before] == [row[column] for row in now], column
    short = float(before[SHORTEST]["final_loss"]), float(now[SHORTEST]["final_loss"])
    assert close(*short, relative=1e-5), "after one epoch, rounding is not yet visible"


@pytest.mark.parametrize("table", ["trials.csv", "agreement.csv"])
def test_the_quickstart_trains_to_the_same_values(table: str) -> None:
    """Every column but times, with the reasons word by word, on a machine that rounds as the one of the record did.

    Another CPU or number of threads adds in another order, and five epochs of training make that visible. There
    record `golden/quickstart` anew with the code of before.
    """
    loss = [rows(folder / "trials.csv")[SHORTEST]["final_loss"] for folder in (RECORDED, STUDY)]
    if loss[0] != loss[1]:
        pytest.skip("this machine rounds differently from the one of the record")
    assert_equal_but_for_times(RECORDED / table, STUDY / table, relative=1e-4)
