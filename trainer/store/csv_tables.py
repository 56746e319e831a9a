"""CSV tables, read and written. Imports no torch."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from trainer.errors import DataError
from trainer.store.text import read_text

# A spreadsheet reads a cell that begins with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
EXCEL_HINT = re.compile(r"\Asep=[,;\t|](?=[\r\n])")  # Excel's own first line, of which an empty one is left


def csv_rows(path: Path, header: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV table, each with the number of its first line in the file (the header is in line 1).

    `DataError` where encoding, header or quotes are wrong.
    """
    rows = cells_by_line(path, read_text(path, "row"), ",")
    names = [cell.strip() for cell in next(rows, (1, []))[1]]
    if names != list(header):
        first = ",".join(names)[:80] or "nothing"
        raise DataError(f"{path}: the header must be {','.join(header)}; found {first}")
    yield from rows


class TornRow(list[str]):
    """What is left of a row whose quotes are wrong: nothing but the mistake in it."""

    def __init__(self, mistake: str) -> None:
        super().__init__([""])
        self.mistake = mistake


def cells_by_line(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row of a text that is not blank, header included, with the number of its first line.

    A row with wrong quotes is a `TornRow`. `DataError` where a quote stays open to the end of the text.
    """
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    while True:
        first = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            to = f" up to line {rows.line_num}" if rows.line_num > first else ""
            if "unexpected end" in str(error):
                raise DataError(
                    f"{path}, line {first}: not a readable CSV ({error}{to}); is a quote missing?"
                ) from None
            cells = TornRow(f"its quotes are wrong ({error}{to}); a quote in a cell is written twice")
        if cells:
            yield first, cells


def swallowed(cells: Sequence[str]) -> str:
    """What is wrong with the quotes of a row, or with a line end in a cell; empty for any other.

    A quote that is not closed makes its cell go on over the rows that follow.
    """
    if isinstance(cells, TornRow):
        return cells.mistake
    lines = sum(cell.count("\n") or cell.count("\r") for cell in cells)
    if not lines:
        return ""
    return (
        f"a cell in quotes goes on over {lines + 1} lines; close the quote that is open, or write the cell in one line"
    )


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
