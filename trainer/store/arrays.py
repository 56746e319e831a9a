"""Rows of one shape in a memory-mapped file: built once for all processes, whole or not there, checked when read.

    header    4096 bytes: JSON (key, rows, shape, dtype, checksum of the checksums) with a checksum of its own
    checksums CRC-32 of each row
    rows      one after the other, from the next multiple of 4096

A file is opened only where header, checksums and length fit; a row is checked when a process first reads it. What
does not fit is made again. Nothing is written through the map, so that a full disk is an error and not a signal.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
import weakref
import zlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.store.locks import locked

FORMAT = 1
SUFFIX = ".rows"
_BLOCK = 4096
_CRC = np.dtype("<u4")

Block = NDArray[Any]  # some rows: [n, *shape]
Build = Callable[[], Iterable[Block]]
OnProgress = Callable[[int, int], None]  # done, of


class NoRoomError(Exception):
    """A store does not fit into its limit, or onto its disk."""


class _DamagedError(Exception):
    """A file that is not the store that it should be."""


@dataclass(frozen=True)
class Layout:
    """What a store holds. `key` names the content: other content has another key."""

    key: str
    rows: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def start(self) -> int:
        """Where the rows begin."""
        return _BLOCK + -(-self.rows * _CRC.itemsize // _BLOCK) * _BLOCK

    @property
    def nbytes(self) -> int:
        return self.start + self.rows * self.row_bytes


class ArrayStore:
    """Rows by number, read-only. A damaged row is noticed, and the whole store made again.

    `build` gives the rows in order, in blocks; it is called only where the file is not there or not whole.
    `progress` is called as rows are built, and while another process builds them.
    Raises `NoRoomError`, and `OSError` where the folder cannot be written.
    """

    def __init__(
        self, folder: Path, layout: Layout, build: Build, limit_bytes: int, progress: OnProgress | None = None
    ) -> None:
        self.path = folder / f"{layout.key}{SUFFIX}"
        self.layout = layout
        self.built_seconds = 0.0
        self.limit_bytes = limit_bytes
        self.build, self.progress = build, progress
        self._identity: tuple[int, ...] = ()
        self._file: BufferedReader
        self._close: Callable[[], object] = lambda: None
        self._rows: Block
        self._sums: Block
        self._checked: NDArray[np.bool_]
        self.refresh()

    def __getitem__(self, row: int) -> Block:
        if _identity_of(os.fstat(self._file.fileno())) != self._identity:
            self.refresh()  # the file was changed: reading a shortened map kills the process
        if not self._checked[row]:
            self._check(row)
        values: Block = self._rows[row]
        return values

    def refresh(self) -> None:
        """Looks whether the file is still the one that was opened; opens or builds it where it is not."""
        present: tuple[int, ...] = ()
        with suppress(OSError):
            present = _identity_of(self.path.stat())
        if not present or present != self._identity:
            try:
                self._open()
            except (OSError, _DamagedError):
                self._make(None)
        with suppress(OSError):  # the access time decides what is removed first; the time of change must stay
            os.utime(self.path, ns=(time.time_ns(), self.path.stat().st_mtime_ns))

    def _check(self, row: int) -> None:
        if self._fits(row):
            return
        try:
            self._make(row)
        except BaseException:
            self.path.unlink(missing_ok=True)  # or the next run would fail on it
            raise
        if not self._fits(row):
            raise OSError(f"{self.path}: damaged again as soon as it was made: is the disk sound?")

    def _fits(self, row: int) -> bool:
        self._checked[row] = zlib.crc32(self._rows[row].data) == self._sums[row]
        return bool(self._checked[row])

    def _make(self, damaged: int | None) -> None:
        """Builds the file, unless another process has built it meanwhile, with the `damaged` row repaired."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path.with_name(f".{self.path.name}.lock"), lambda: self._tell(0)):
            with suppress(OSError, _DamagedError):
                self._open()
                if damaged is None or self._fits(damaged):
                    return
            started = time.monotonic()
            make_room(self.path, self.layout.nbytes, self.limit_bytes)
            self._write()
            self._open()
            self.built_seconds = time.monotonic() - started

    def _tell(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, self.layout.rows)

    def _write(self) -> None:
        for leftover in self.path.parent.glob(f".{self.path.name}.*.tmp"):  # of a killed process
            leftover.unlink(missing_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        sums: list[int] = []
        try:
            with temporary.open("wb") as file:
                file.seek(self.layout.start)
                for block in self.build():
                    whole = np.ascontiguousarray(block, dtype=self.layout.dtype)
                    assert whole.shape[1:] == self.layout.shape, "rows of another shape"
                    sums += [zlib.crc32(row.data) for row in whole]
                    file.write(whole.data)
                    self._tell(len(sums))
                assert len(sums) == self.layout.rows, "not as many rows as the layout has"
                table = np.array(sums, dtype=_CRC).tobytes()
                file.seek(0)
                file.write(_header(self.layout, zlib.crc32(table)) + table)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)  # of a build that failed

    def _open(self) -> None:
        layout = self.layout
        with ExitStack() as on_error:
            file = on_error.enter_context(self.path.open("rb"))
            header = file.read(_BLOCK)
            table = file.read(layout.rows * _CRC.itemsize)
            if header != _header(layout, zlib.crc32(table)):
                raise _DamagedError("another header")
            status = os.fstat(file.fileno())
            if status.st_size != layout.nbytes:
                raise _DamagedError("another length")
            shape = (layout.rows, *layout.shape)
            # A plain array over the map: np.memmap's own class makes every slice slower.
            mapped = np.memmap(file, layout.dtype, "r", layout.start, shape)
            self._rows = mapped.view(np.ndarray)
            self._identity = _identity_of(status)
            self._close()  # the one opened before
            self._file, self._close = file, weakref.finalize(self, file.close)
            on_error.pop_all()  # kept open: each row asks it whether the file is still what it was
        self._sums = np.frombuffer(table, dtype=_CRC)
        self._checked = np.zeros(layout.rows, dtype=np.bool_)


def _header(layout: Layout, table_sum: int) -> bytes:
    content = json.dumps({"format": FORMAT, **asdict(layout), "sums": table_sum}, sort_keys=True).encode()
    line = content + b"\n%08x\n" % zlib.crc32(content)
    assert len(line) <= _BLOCK, "a header of one block"
    return line.ljust(_BLOCK, b"\0")


def _identity_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def make_room(path: Path, needed: int, limit: int) -> None:
    """Removes stores beside `path`, the longest unused first, until `needed` more bytes are within the limit.

    A process that reads one of them keeps it until it closes it. `NoRoomError` where even an empty folder has no room.
    """
    if needed > limit:
        raise NoRoomError(f"{needed / 1e9:.3g} GB are needed, {limit / 1e9:.3g} GB allowed")
    others = []
    for other in path.parent.glob(f"*{SUFFIX}"):
        with suppress(OSError):
            if other != path:
                others.append((other.stat().st_atime_ns, other.stat().st_size, other))
    total = sum(size for _, size, _ in others)
    for _, size, other in sorted(others):
        if total + needed <= limit:
            break
        other.unlink(missing_ok=True)
        total -= size
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise NoRoomError(f"{needed / 1e9:.3g} GB are needed, {free / 1e9:.3g} GB are free")
