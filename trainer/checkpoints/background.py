"""Checkpoints written beside the training: the loop waits for a copy of the state, not for the disk."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

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
        if any(tensor.is_cuda for tensor in _tensors(state)):
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
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self, work: Callable[[], None]) -> None:
        """Starts the next piece; waits for the one before it, and raises what that one raised."""
        self.wait()
        # No daemon: a process that ends regularly completes its file first.
        self._thread = threading.Thread(target=self._run, args=(work,), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Returns once nothing is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again where the loop waits
            self._error = error


def _tensors(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, Mapping):
        return [tensor for value in state.values() for tensor in _tensors(value)]
    return [tensor for value in state for tensor in _tensors(value)] if isinstance(state, list | tuple) else []
