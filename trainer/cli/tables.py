"""A table of predictions that grows on disk: what is there so far is a whole CSV at any time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from trainer.errors import ConfigError, Problem
from trainer.store.csv_tables import csv_lines

_LONGEST_NAME = 120  # bytes of an image's name, of 255 that most file systems allow
Cells = Mapping[str, str | bytes]


class GrowingTable:
    """Rows to a CSV file, or to stdout, each written at once.

    The first row with more than a name gives the columns; rows of names alone wait for it, and get empty cells.
    """

    def __init__(self, output: Path | None) -> None:
        self.output, self.rows = output, 0
        self._file: TextIO | None = None
        self._columns: list[str] = []
        self._waiting: list[Mapping[str, str]] = []

    def add(self, cells: Mapping[str, str]) -> None:
        self.rows += 1
        self._waiting.append(cells)
        if self._columns or len(cells) > 1:
            self.flush()

    def flush(self) -> None:
        """Writes the rows that wait."""
        if not self._waiting:
            return
        first = not self._columns
        self._columns = self._columns or list(self._waiting[-1])
        rows = ({name: cells.get(name, "") for name in self._columns} for cells in self._waiting)
        lines = csv_lines(self._columns, rows)
        if not first:
            next(lines)  # the header
        if self._file is None:
            self._file = sys.stdout if self.output is None else self.output.open("w", encoding="utf-8")
        self._file.writelines(lines)
        self._file.flush()
        self._waiting.clear()

    def close(self) -> None:
        self.flush()
        if self._file is not None and self.output is not None:
            self._file.close()


@contextmanager
def growing_table(output: Path | None) -> Iterator[GrowingTable]:
    """A table that is closed whatever ends the work on it."""
    table = GrowingTable(output)
    try:
        yield table
    finally:
        table.close()


def with_image_files(row: Cells, number: int, folder: Path) -> dict[str, str]:
    """A row with the path of a file in place of each generated image; writes the files."""
    cells: dict[str, str] = {}
    for name, value in row.items():
        if isinstance(value, bytes):
            stem = Path(str(next(iter(row.values())))).stem.encode("utf-8", "surrogateescape")
            first = stem[:_LONGEST_NAME].decode("utf-8", "ignore")
            path = folder / f"{number:04d}-{first}.png"
            try:
                folder.mkdir(exist_ok=True)
                path.write_bytes(value)
            except OSError as error:
                raise ConfigError([Problem("--output", f"{path} cannot be written ({error.strerror})")]) from None
            value = str(path)
        cells[name] = value
    return cells
