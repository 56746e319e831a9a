"""CSV tables, read and written. Imports no torch."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from trainer.errors import DataError

# A spreadsheet reads a cell that begins with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_rows(path: Path, header: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV table, each with its number (the header is row 1).

    `DataError` where encoding, header or quotes are wrong.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, row {line}: not UTF-8 text") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [cell.strip() for cell in next(rows, [])]
        if names != list(header):
            first = ",".join(names)[:80] or "nothing"
            raise DataError(f"{path}: the header must be {','.join(header)}; found {first}")
        for row, cells in enumerate(rows, start=2):
            if cells:
                yield row, cells
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: not a readable CSV ({error})") from None


def csv_text(header: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """A table as CSV. Texts that a spreadsheet would run get a leading apostrophe; numbers stay numbers."""
    return "".join(csv_lines(header, rows))


def csv_lines(header: Sequence[str], rows: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """The lines of a table as CSV, the header first, each as soon as its row is there."""
    for cells in itertools.chain([header], ([row[name] for name in header] for row in rows)):
        yield _csv_line(cells).encode("utf-8", "backslashreplace").decode()  # a file name need not be valid Unicode


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(map(_harmless, cells))  # quotes cells that hold either line ending
    return f"{line.getvalue()[:-2]}\n"


def _harmless(cell: str) -> str:
    if not cell.startswith(FORMULA_STARTS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def table_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table whose form is not known yet, header included, each with its number; blank ones left out.

    `DataError` where encoding or quotes are wrong.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, row {line}: not UTF-8 text") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        yield from ((row, cells) for row, cells in enumerate(rows, start=1) if cells)
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: not a readable CSV ({error})") from None
