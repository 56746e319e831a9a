"""The average of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from trainer_parts import session_of, tiny, trained

from trainer.api import Hooks, evaluate
from trainer.checkpoints.files import load_checkpoint
from trainer.learning.ema import WeightAverage


def test_the_average_follows_its_formula() -> None:
    model = nn.Linear(2, 1, bias=False)
    average = WeightAverage(model, decay=0.5)
    expected = model.weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            model.weight.add_(1.0)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
        torch.testing.assert_close(average.for_evaluation().weight, expected)


def test_buffers_are_copied() -> None:
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, decay=0.9)
    model(torch.randn(8, 2))
    averaged = average.for_evaluation()
    assert not averaged.training
    torch.testing.assert_close(averaged.running_mean, model.running_mean, rtol=0, atol=0)


def test_the_average_is_what_is_evaluated_and_kept(tmp_path: Path) -> None:
    outcome = trained(tiny(tmp_path, training__ema_decay=0.9, training__epochs=2))
    state = load_checkpoint(tmp_path / "last.pth")
    differing = [name for name in state["model"] if not torch.equal(state["model"][name], state["average"][name])]
    assert any("weight" in name for name in differing)
    metrics = evaluate(tmp_path / "last.pth", {}, everything=False)
    assert metrics["val_loss"] == pytest.approx(outcome.evaluations[-1].metrics["val_loss"], rel=1e-6)
    plain = trained(tiny(tmp_path / "plain", training__epochs=2))
    assert plain.evaluations[-1].metrics["train_loss"] == outcome.evaluations[-1].metrics["train_loss"]
    assert plain.evaluations[-1].metrics["val_loss"] != outcome.evaluations[-1].metrics["val_loss"]


def test_without_it_the_checkpoint_holds_none(tmp_path: Path) -> None:
    with session_of(tiny(tmp_path, training__epochs=1)) as session:
        session.train(1, Hooks())
        assert session.run.average is None
    assert load_checkpoint(tmp_path / "last.pth")["average"] is None
