"""Looks at what only libraries can tell: sound ones are taken once, and long failures are not waited for twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trainer.api import ConfigError, Problem
from trainer.task import library_checks
from trainer.task.library_checks import run_checks


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(library_checks, "VERDICTS", library_checks.Verdicts())
    monkeypatch.setattr(library_checks, "monotonic", lambda: now[0])
    return now


def failing(clock: list[float], seconds: float, taken: list[float]) -> Callable[[], None]:
    def look() -> None:
        taken.append(clock[0])
        clock[0] += seconds
        raise ConfigError([Problem("model", "cannot be had")])

    return look


def test_what_is_sound_is_looked_at_once_and_all_that_is_not_is_said(clock: list[float]) -> None:
    taken: list[float] = []
    bad = failing(clock, 0.1, taken)
    for _ in range(2):
        looks = [("a", lambda: taken.append(-1.0)), ("b", bad), ("c", bad)]
        with pytest.raises(ConfigError) as caught:
            run_checks(looks)
        assert len(caught.value.problems) == 2
    assert taken.count(-1.0) == 1
    assert len(taken) == 1 + 4, "what fails at once may have been put right"


def test_what_takes_long_to_fail_is_waited_for_once_in_a_while(clock: list[float]) -> None:
    taken: list[float] = []
    for _ in range(3):
        with pytest.raises(ConfigError, match="model: cannot be had"):
            run_checks([("hub", failing(clock, 23.0, taken))])
    assert taken == [0.0]
    clock[0] += 400.0
    with pytest.raises(ConfigError):
        run_checks([("hub", failing(clock, 23.0, taken))])
    assert taken == [0.0, 423.0]
