"""Tables in CSV files, with every way in which they cannot be read. Imports no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.errors import DataError


def csv_rows(path: Path, header: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Row number (the header is row 1) and cells; `DataError` where encoding, header or quotes are wrong."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, row {line}: not UTF-8 text") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        said = [cell.strip() for cell in next(rows, [])]
        if said != list(header):
            found = ",".join(said)[:80] or "nothing"
            raise DataError(f"{path}: the header must be {','.join(header)}; found {found}")
        for row, cells in enumerate(rows, start=2):
            if cells:
                yield row, cells
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: not a readable CSV ({error})") from None
