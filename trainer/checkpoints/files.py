"""Checkpoints: written whole or not at all, checked when read, and loaded so that nothing in them can run.

A checkpoint is an ordinary `torch.save` file whose ZIP comment holds a SHA-256 of everything before it, so
one file carries its own check and any tool that reads PyTorch files still reads it.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer.errors import CheckpointError, TrainingError, WriteError, first_line

FORMAT = 1
LAST, PREVIOUS, BEST, EARLIER = "last.pth", "previous.pth", "best.pth", "earlier_best.pth"
PARTS = frozenset(
    (
        "task",
        "config",
        "model",
        "average",
        "optimizer",
        "scaler",
        "schedule",
        "stopping",
        "progress",
        "history",
        "random",
        "extras",
    )
)
# What `torch.load(weights_only=True)` raises on a file that it cannot read, or that would run code.
UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError)
_MARK = b"sha256:"
_COMMENT = len(_MARK) + 64
_BLOCK = 1 << 20


def save_checkpoint(state: Mapping[str, Any], path: Path, keep: Path | None = None) -> None:
    """Writes a temporary file, syncs it, then moves it into place; an earlier file survives any failure.

    With `keep`, the earlier file gets that name, once the new one is whole.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(dict(state), temporary)
        with temporary.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            digest = _digest(file, size - 2)
            file.seek(size - 2)  # the last two bytes of a ZIP file are its comment's length
            file.write(_COMMENT.to_bytes(2, "little") + _MARK + digest.encode())
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            copy_checkpoint(path, keep)
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        # PyTorch reports a full disk as a RuntimeError of its zip writer.
        written = temporary.stat().st_size if temporary.exists() else 0
        needed = max(sum(tensor.nbytes for tensor in tensors_of(state)), written)
        temporary.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free
        raise WriteError(
            f"{path}: could not be written ({first_line(error)}); {free / 1e6:.1f} MB are free in "
            f"{path.parent}, at least {needed / 1e6:.1f} MB were needed; older checkpoints are intact"
        ) from error


def check_extras(extras: Mapping[str, Any]) -> None:
    """Raises a `TrainingError` if the `extras` of a task could not be read again, before any training is lost."""
    written = io.BytesIO()
    try:
        torch.save(dict(extras), written)
        written.seek(0)
        torch.load(written, weights_only=True)
    except UNREADABLE as error:
        name = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"{name[1]} among them" if name else first_line(error)
        raise TrainingError(f"extras of the task may be plain data and tensors, nothing else ({what})") from None


def tensors_of(state: object) -> Iterator[torch.Tensor]:
    """The tensors of a state, however deep."""
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, Mapping | list | tuple):
        for value in state.values() if isinstance(state, Mapping) else state:
            yield from tensors_of(value)


def rotate_and_save(state: Mapping[str, Any], folder: Path) -> Path:
    """Writes `last.pth`, keeping the one before as `previous.pth` in case this one is ever damaged."""
    last = folder / LAST
    save_checkpoint(state, last, keep=folder / PREVIOUS)
    return last


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left half written in a run's folder."""
    for name in (LAST, PREVIOUS, BEST):
        for leftover in folder.glob(f".{name}.*"):
            leftover.unlink(missing_ok=True)


def keep_earlier(folder: Path) -> str:
    """Renames the best checkpoint of an earlier run in the folder; returns a line about it, empty if there is none."""
    best = folder / BEST
    if not best.is_file():
        return ""
    best.replace(folder / EARLIER)
    return f"an earlier run's checkpoints in {folder} are replaced; its best is kept as {EARLIER}"


def copy_checkpoint(source: Path, target: Path) -> None:
    """A second name for a checkpoint: a hard link where the file system has them (the files never change)."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checked checkpoint on the CPU; `CheckpointError` for a damaged or missing one, or one of another program."""
    try:
        with path.open("rb") as file:
            _verify(file, path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except (OSError, *UNREADABLE) as error:
        raise CheckpointError(f"{path}: cannot be read ({first_line(error)})") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT or not state.keys() >= PARTS:
        raise CheckpointError(f"{path}: not a checkpoint of this program, or of another version of it")
    return state


def fill_model(model: nn.Module, state: Mapping[str, Any], what: str) -> None:
    """Loads a checkpoint's weights into a model, averaged ones where it has them.

    A `CheckpointError` begins with `what` where they
    are another model's."""
    try:
        model.load_state_dict(state["average"] or state["model"])
    except RuntimeError as error:
        first = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
        raise CheckpointError(f"{what}: {first}") from None


def load_newest(folder: Path) -> tuple[dict[str, Any], Path, Sequence[str]] | None:
    """The newest valid state of a run: `last.pth`, else `previous.pth`.

    Returns the state, its file, and a line on each damaged file; None where there is none at all. Raises
    `CheckpointError` where files exist but none is valid: a run never starts again silently.
    """
    damaged: list[str] = []
    for name in (LAST, PREVIOUS):
        path = folder / name
        if path.exists():
            try:
                return load_checkpoint(path), path, damaged
            except CheckpointError as error:
                damaged.append(str(error))
    if damaged:
        raise CheckpointError("; ".join([*damaged, f"remove {folder} to start this run again from scratch"]))
    return None


def _verify(file: Any, path: Path) -> None:
    size = file.seek(0, os.SEEK_END)
    start = size - _COMMENT
    if start <= 2:
        raise CheckpointError(f"{path}: damaged: only {size} bytes long")
    file.seek(start - 2)
    length, comment = file.read(2), file.read(_COMMENT)
    if length != _COMMENT.to_bytes(2, "little") or not comment.startswith(_MARK):
        raise CheckpointError(f"{path}: has no checksum: damaged, or not a checkpoint of this program")
    if _digest(file, start - 2) != comment[len(_MARK) :].decode("ascii", "replace"):
        raise CheckpointError(f"{path}: damaged: its checksum does not fit")


def _digest(file: Any, length: int) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(min(_BLOCK, length)):
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":  # folders cannot be opened there, and need not be synced
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
