"""What the trainer's tests share."""

from __future__ import annotations

import pytest
import torch

import trainer.data.batches


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Many small models: threads cost more than they bring, and results are compared bit by bit."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread computes, but two processes may load."""
    monkeypatch.setattr(trainer.data.batches, "share_of_cores", lambda: 2)
