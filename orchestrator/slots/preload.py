"""What the fork server imports before slots are copied from it; it must leave CUDA and thread pools alone."""

from __future__ import annotations

import torch

import trainer.api
import trainer.loop
import trainer.run
import trainer.writer  # noqa: F401

assert not torch.cuda.is_initialized(), "a process that has touched CUDA cannot be copied"  # type: ignore[no-untyped-call]
