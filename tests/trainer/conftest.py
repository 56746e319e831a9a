"""What the trainer's tests share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Many small models: threads cost more than they bring, and results are compared bit by bit."""
    torch.set_num_threads(1)
