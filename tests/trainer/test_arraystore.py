"""The store of rows: built once by whoever is first, noticed and made again when damaged in any way."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from trainer.store.arrays import SUFFIX, ArrayStore, Block, Layout, NoRoomError

ROWS, SHAPE = 7, (3, 5, 2)
LAYOUT = Layout("a0b1", ROWS, SHAPE, "uint8")
LIMIT = 1 << 20


def expected(layout: Layout = LAYOUT) -> Block:
    random = np.random.default_rng(int(layout.key, 16))
    return random.integers(0, 255, (layout.rows, *layout.shape)).astype(layout.dtype)


class Counted:
    """Builds the rows in blocks of three and counts how often."""

    def __init__(self, layout: Layout = LAYOUT) -> None:
        self.layout, self.builds = layout, 0

    def __call__(self) -> Iterator[Block]:
        self.builds += 1
        rows = expected(self.layout)
        for first in range(0, len(rows), 3):
            yield rows[first : first + 3]


def read(store: ArrayStore) -> Block:
    return np.stack([store[row] for row in range(store.layout.rows)])


def test_what_was_built_is_read_and_not_built_again(tmp_path: Path) -> None:
    build = Counted()
    for _ in range(3):
        store = ArrayStore(tmp_path, LAYOUT, build, LIMIT)
        assert (read(store) == expected()).all()
    assert build.builds == 1
    assert store.path.stat().st_size == LAYOUT.nbytes
    with pytest.raises(ValueError, match="read-only"):
        store[0][0] = 1


@pytest.mark.parametrize("layout", [
    Layout("a0", 1, (1,), "float32"), Layout("a1", 2000, (2,), "uint8"), Layout("a2", 3, (4, 4, 8), "float16"),
])  # fmt: skip
def test_rows_of_any_shape(layout: Layout, tmp_path: Path) -> None:
    store = ArrayStore(tmp_path, layout, Counted(layout), LIMIT)
    assert store[0].dtype == np.dtype(layout.dtype)
    assert (read(store) == expected(layout)).all()


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut by a byte": lambda path: os.truncate(path, LAYOUT.nbytes - 1),
    "cut in the header": lambda path: os.truncate(path, 100),
    "longer": lambda path: overwrite(path, LAYOUT.nbytes, b"more"),
    "half written": lambda path: overwrite(path, 0, bytes(LAYOUT.start + 40)),
    "rows never written": lambda path: overwrite(path, LAYOUT.start, bytes(ROWS * LAYOUT.row_bytes)),
    "checksums lost": lambda path: overwrite(path, 4096, bytes(8)),
    "another store": lambda path: path.write_bytes(
        ArrayStore(path.parent / "b", Layout("ff", ROWS, SHAPE, "uint8"), Counted(), LIMIT).path.read_bytes()
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("held", [False, True])
def test_damage_between_two_runs_is_noticed_and_made_good(damage: str, held: bool, tmp_path: Path) -> None:
    build = Counted()
    store = ArrayStore(tmp_path, LAYOUT, build, LIMIT)
    assert (read(store) == expected()).all()
    DAMAGES[damage](store.path)
    if held:
        store.refresh()
    else:
        store = ArrayStore(tmp_path, LAYOUT, build, LIMIT)
    assert (read(store) == expected()).all()
    assert build.builds == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_under_a_reader_is_noticed_and_made_good(damage: str, tmp_path: Path) -> None:
    build = Counted()
    store = ArrayStore(tmp_path, LAYOUT, build, LIMIT)
    assert (read(store) == expected()).all()
    time.sleep(0.05)  # the clock of a file system may tick as slowly as every few hundredths
    DAMAGES[damage](store.path)
    assert (read(store) == expected()).all()
    assert build.builds == (1 if damage == "deleted" else 2), "a deleted file is there for who has it open"


def test_every_single_flipped_bit_is_noticed(tmp_path: Path) -> None:
    build = Counted()
    store = ArrayStore(tmp_path, LAYOUT, build, LIMIT)
    whole = store.path.read_bytes()
    chance = random.Random(0)
    head = [chance.randrange(200) for _ in range(20)] + [4096 + chance.randrange(4 * ROWS) for _ in range(10)]
    body = [LAYOUT.start + chance.randrange(ROWS * LAYOUT.row_bytes) for _ in range(40)]
    for at in head + body:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << chance.randrange(8)
        store.path.write_bytes(flipped)
        before = build.builds
        assert (read(ArrayStore(tmp_path, LAYOUT, build, LIMIT)) == expected()).all(), at
        assert build.builds == before + 1, at


def test_a_row_that_rots_while_a_run_goes_on(tmp_path: Path) -> None:
    """Another process has the file open too; what one of them makes again serves both."""
    build = Counted()
    one, other = (ArrayStore(tmp_path, LAYOUT, build, LIMIT) for _ in range(2))
    assert (one[0] == expected()[0]).all()
    overwrite(one.path, LAYOUT.start + 4 * LAYOUT.row_bytes, b"\xff\0\xff\0")
    for store in (one, other):
        assert (read(store) == expected()).all()
    assert build.builds == 2


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Block]:
        yield expected()[:3]
        raise KeyError("no more")

    with pytest.raises(KeyError):
        ArrayStore(tmp_path, LAYOUT, broken, LIMIT)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert (read(ArrayStore(tmp_path, LAYOUT, Counted(), LIMIT)) == expected()).all()


def test_the_limit_removes_what_was_unused_longest(tmp_path: Path) -> None:
    layouts = [Layout(f"c{n}", ROWS, SHAPE, "uint8") for n in range(4)]
    limit = 3 * LAYOUT.nbytes
    for layout in layouts[:3]:
        ArrayStore(tmp_path, layout, Counted(layout), limit)
        time.sleep(0.01)
    oldest = ArrayStore(tmp_path, layouts[0], Counted(layouts[0]), limit)  # used again
    ArrayStore(tmp_path, layouts[3], Counted(layouts[3]), limit)
    assert sorted(path.name for path in tmp_path.glob(f"*{SUFFIX}")) == [f"c{n}{SUFFIX}" for n in (0, 2, 3)]
    oldest.path.unlink()
    assert (read(oldest) == expected(layouts[0])).all(), "who has it open reads on"
    with pytest.raises(NoRoomError, match=r"GB are needed, .* GB allowed"):
        ArrayStore(tmp_path, LAYOUT, Counted(), LAYOUT.nbytes - 1)


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        ArrayStore(tmp_path / "file" / "cache", LAYOUT, Counted(), LIMIT)


class Slow:
    """Leaves a mark for each build, and takes its time."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds

    def __call__(self) -> Iterator[Block]:
        (self.folder / f"mark-{os.getpid()}-{time.monotonic_ns()}").touch()
        for row in expected():
            time.sleep(self.seconds)
            yield row[None]


def sum_of_rows(folder: Path, seconds: float) -> int:
    return int(read(ArrayStore(folder / "stores", LAYOUT, Slow(folder, seconds), LIMIT)).sum())


def test_many_processes_that_want_it_at_once_build_it_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        sums = pool.starmap(sum_of_rows, [(tmp_path, 0.02)] * 8, chunksize=1)
    assert sums == [int(expected().sum())] * 8
    assert len(list(tmp_path.glob("mark-*"))) == 1
    assert [path.name for path in (tmp_path / "stores").iterdir() if path.suffix != ".lock"] == [f"a0b1{SUFFIX}"]


def test_a_builder_that_is_killed_is_followed_by_the_next(tmp_path: Path) -> None:
    builder = multiprocessing.get_context("spawn").Process(target=sum_of_rows, args=(tmp_path, 30.0))
    builder.start()
    while not list(tmp_path.glob("mark-*")):
        time.sleep(0.01)
    assert builder.pid is not None
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    assert list((tmp_path / "stores").glob(".*.tmp")), "what it left behind"
    assert sum_of_rows(tmp_path, 0.0) == int(expected().sum())
    assert not list((tmp_path / "stores").glob(".*.tmp"))
