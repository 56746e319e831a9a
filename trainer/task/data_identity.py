"""What a run was trained on, as its checkpoints keep it: enough to notice that other data have come in its place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import counted

Hashes = NDArray[np.int64]
_NONE: Hashes = np.zeros(0, dtype=np.int64)
_MOST_NAMED = 200_000  # a checkpoint keeps 8 bytes for each image, up to so many
_KEPT = 4
_FOUND: dict[tuple[str, Path], tuple[str, Hashes]] = {}  # of this process


@dataclass(frozen=True)
class DataIdentity:
    """The data of a run. `digest` is of the usable images by name and size, in their order, with their labels, captions
    or boxes: a copy in another place is the same data, though its files have other dates.

    `train` and `val`: a hash of the name of each image of the whole training side, and of each that is validated on.
    `apart` are the keys of `data` whose files are not part of the digest.
    """

    digest: str
    images: int = 0
    train: Hashes = field(default_factory=lambda: _NONE)
    val: Hashes = field(default_factory=lambda: _NONE)
    apart: tuple[str, ...] = ()

    def changes_from(self, old: Mapping[str, Any]) -> list[str]:
        """What is other than in a checkpoint, whose arrays may be tensors; empty for the same data."""
        if old["digest"] == self.digest:
            return []
        told = []
        if old["images"] != self.images:
            told.append(f"{counted(old['images'], 'image')} then, {self.images} now")
        trained, validated = np.asarray(old["train"]), np.asarray(old["val"])
        moved = int(np.isin(self.val, trained).sum()), int(np.isin(self.train, validated).sum())
        if moved[0]:
            told.append(f"the split has moved: {moved[0]} that were trained on are now validated on")
        if moved[1]:
            told.append(f"{moved[1]} that were validated on are now trained on")
        return told or ["files, labels or captions have changed"]


def identity_of(
    stamp: str,
    images: Sequence[Path],
    truth: Callable[[], Iterable[object]],
    train: NDArray[np.int64],
    val: NDArray[np.int64],
    apart: tuple[str, ...] = (),
) -> DataIdentity:
    """The identity of usable images, which `stamp` changes with. `truth` gives what is known of each, as plain data;
    `train` and `val` are the numbers of those on either side of the split."""
    key = (stamp, images[0])
    if key not in _FOUND:
        while len(_FOUND) >= _KEPT:
            del _FOUND[next(iter(_FOUND))]
        _FOUND[key] = _found(images, truth())
    digest, names = _FOUND[key]
    if len(images) > _MOST_NAMED:
        return DataIdentity(digest, len(images), apart=apart)
    return DataIdentity(digest, len(images), names[train], names[val], apart)


def _found(images: Sequence[Path], truth: Iterable[object]) -> tuple[str, Hashes]:
    root = os.path.commonpath({str(path.parent) for path in images})
    digest, names = hashlib.blake2b(digest_size=16), np.zeros(len(images), dtype=np.int64)
    for number, (path, known) in enumerate(zip(images, truth, strict=True)):
        name = path.relative_to(root).as_posix().encode("utf-8", "surrogateescape")
        size = path.stat().st_size if path.exists() else -1
        digest.update(b"%b\0%d\0%b\n" % (name, size, repr(known).encode("utf-8", "backslashreplace")))
        names[number] = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), signed=True)
    return digest.hexdigest(), names
