"""The quickstart's table, where a finished quickstart is at hand: `RUNGWISE_QUICKSTART=outputs/quickstart pytest …`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from compat_parts import GOLDEN, assert_equal_but_for_times

STUDY = os.environ.get("RUNGWISE_QUICKSTART")


@pytest.mark.skipif(not STUDY, reason="RUNGWISE_QUICKSTART names no finished quickstart")
@pytest.mark.parametrize("table", ["trials.csv", "agreement.csv"])
def test_the_quickstart_trains_the_same_trials_to_the_same_values(table: str) -> None:
    """Every column but times, with the reasons word by word.

    Recorded on two cores of an x86 CPU. Another number of threads adds in another order, and five epochs of training
    make that visible: elsewhere record `golden/quickstart` anew with the code of before.
    """
    assert_equal_but_for_times(GOLDEN / "quickstart" / table, Path(str(STUDY)) / table, relative=1e-4)
