"""CSV for a spreadsheet that runs what looks like a formula, and `metrics.jsonl` that something cut or damaged."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from reports import tables
from trainer.store.csv_tables import FORMULA_STARTS, csv_text
from trainer.store.text import read_metrics

WHOLE = b'{"epoch": 1, "step": 4, "rung": 1, "seconds": 0.5, "metrics": {"bleu": 1.5, "val_loss": NaN}}\n'


@pytest.mark.parametrize("cell", ['=HYPERLINK("http://x.invalid")', "+cmd|x", "-2+3", "@SUM(A1)", "\tx", "\rx"])
def test_what_a_spreadsheet_would_run_is_text(cell: str) -> None:
    (row,) = csv.DictReader(
        io.StringIO(csv_text(["image", "caption"], [{"image": "a.jpg", "caption": cell}]), newline="")
    )
    assert row == {"image": "a.jpg", "caption": f"'{cell}"}


@pytest.mark.parametrize(
    "cell", ["a red circle", "-3.5", "+1e-3", "", "🐙 <script>", 'two "words", one\nline', "x" * 10_000]
)
def test_everything_else_stays_as_it_is(cell: str) -> None:
    (row,) = csv.DictReader(io.StringIO(csv_text(["caption"], [{"caption": cell}]) or "", newline=""))
    assert row == {"caption": cell}


def test_the_reports_have_the_same_rule() -> None:
    assert FORMULA_STARTS == tables.FORMULA_STARTS


def test_names_that_are_not_unicode_can_be_written() -> None:
    assert csv_text(["image"], [{"image": "caf\udce9.jpg"}]) == "image\ncaf\\udce9.jpg\n"


@pytest.mark.parametrize(
    "damage",
    [b"", b'{"epoch": 2, "st', b"\xff\xfe", b"[1, 2]\n", b"3\n", b'{"epoch": 2}\n', WHOLE.replace(b"1.5", b'"x"'),
     WHOLE.replace(b'"step": 4', b'"step": null')],
)  # fmt: skip
def test_of_damaged_metrics_the_whole_lines_are_read(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(WHOLE + damage)
    (line,) = read_metrics(path)
    assert (line["epoch"], line["metrics"]["bleu"]) == (1, 1.5)
    assert read_metrics(tmp_path / "none.jsonl") == []
