"""Early stopping, by the specification's own numbers."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.config.settings import EarlyStoppingSettings
from trainer.learning.stopping import EarlyStopping


def stopping(**settings: Any) -> EarlyStopping:
    return EarlyStopping(EarlyStoppingSettings(**settings))


@pytest.mark.parametrize(("then", "stale"), [(2.4999, 1), (2.4998, 0), (2.5, 1), (2.6, 1), (2.0, 0)])
def test_an_improvement_is_a_fall_by_more_than_min_delta(then: float, stale: int) -> None:
    rule = stopping(min_delta=1e-4)
    rule.update(2.5, 2.5)
    rule.update(2.5, then)
    assert rule.stale == stale


@pytest.mark.parametrize(("val_loss", "counts"), [(2.6, True), (2.3, False), (2.51, True), (2.49, False)])
def test_the_gap_counts_beyond_its_threshold(val_loss: float, counts: bool) -> None:
    rule = stopping(overfitting_gap_threshold=0.5)
    rule.update(2.0, val_loss)
    assert rule.overfitting == int(counts)


def test_a_run_stops_after_patience_evaluations_without_improvement() -> None:
    rule = stopping(patience=3, track_overfitting=False)
    assert [rule.update(1.0, loss) for loss in (2.0, 1.5, 1.6, 1.7)] == ["", "", "", ""]
    assert "has not fallen by more than 0.0001 for 3 evaluations" in rule.update(1.0, 1.5)


def test_an_improvement_starts_the_count_again() -> None:
    rule = stopping(patience=2, track_overfitting=False)
    assert [rule.update(1.0, loss) for loss in (2.0, 2.1, 1.9, 2.0)] == ["", "", "", ""]
    assert rule.update(1.0, 2.0)


def test_overfitting_must_last_for_evaluations_in_a_row() -> None:
    rule = stopping(patience=100, overfitting_patience=2)
    gaps = [(1.0, 2.0), (1.0, 1.2), (1.0, 2.0)]
    assert [rule.update(*pair) for pair in gaps] == ["", "", ""]
    assert "more than 0.5 below validation loss for 2 evaluations" in rule.update(1.0, 2.0)
    untracked = stopping(patience=100, overfitting_patience=1, track_overfitting=False)
    assert untracked.update(1.0, 9.0) == ""


def test_switched_off_it_never_stops() -> None:
    rule = stopping(enabled=False, patience=1, overfitting_patience=1)
    assert [rule.update(0.0, 9.0) for _ in range(5)] == [""] * 5


def test_a_new_rung_forgets_and_a_checkpoint_remembers() -> None:
    rule = stopping(patience=3)
    rule.update(1.0, 2.0)
    rule.update(1.0, 2.0)
    other = stopping(patience=3)
    other.load_state_dict(rule.state_dict())
    assert (other.best, other.stale, other.overfitting) == (2.0, 1, 2)
    other.new_rung()
    assert other.update(1.0, 50.0) == ""
    assert (other.best, other.stale) == (50.0, 0)
