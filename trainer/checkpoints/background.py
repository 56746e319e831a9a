"""Checkpoints written beside the training: the loop waits for a copy of the state, not for the disk."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from trainer.checkpoints.files import tensors_of

_Place = tuple[Any, ...]
_View = tuple[int, torch.Size, tuple[int, ...], torch.dtype]


class StateCopy:
    """Copies of a state in buffers on the CPU, which every copy reuses; a copy is valid until the next one."""

    def __init__(self) -> None:
        self._buffers: dict[_Place, Tensor] = {}

    def take(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A copy that does not share memory with the state; tensors that share memory with each other still do."""
        seen: dict[_View, Tensor] = {}
        copied: dict[str, Any] = self._copied(state, (), seen)
        if any(tensor.is_cuda for tensor in tensors_of(state)):
            torch.cuda.synchronize()  # copies from a GPU into pinned memory are not complete before
        return copied

    def _copied(self, value: Any, place: _Place, seen: dict[_View, Tensor]) -> Any:
        if isinstance(value, Tensor):
            view = (value.data_ptr(), value.shape, value.stride(), value.dtype)
            if not value.numel() or view not in seen:
                seen[view] = self._buffer(value, place).copy_(value.detach(), non_blocking=True)
            return seen[view]
        if isinstance(value, Mapping):
            copied = copy.copy(value)  # with the attributes of a state dict
            for key, item in value.items():
                copied[key] = self._copied(item, (*place, key), seen)  # type: ignore[index]
            return copied
        if isinstance(value, list | tuple):
            return type(value)(self._copied(item, (*place, n), seen) for n, item in enumerate(value))
        return value

    def _buffer(self, value: Tensor, place: _Place) -> Tensor:
        kept = self._buffers.get(place)
        if kept is None or (kept.shape, kept.stride(), kept.dtype) != (value.shape, value.stride(), value.dtype):
            kept = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
            self._buffers[place] = kept
        return kept


class BackgroundWriter:
    """A thread for one piece of work at a time; `wait` raises what it raised."""

    def __init__(self) -> None:
        self._under_way: Future[None] | None = None

    @property
    def busy(self) -> bool:
        return self._under_way is not None and not self._under_way.done()

    def start(self, work: Callable[[], None]) -> None:
        """Starts the next piece; waits for the one before it, and raises what that one raised."""
        self.wait()
        executor = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way = executor.submit(work)
        executor.shutdown(wait=False)  # no other piece follows; a process that ends regularly completes this one first

    def wait(self) -> None:
        """Returns once nothing is being written."""
        ending, self._under_way = self._under_way, None
        if ending is not None:
            ending.result()
