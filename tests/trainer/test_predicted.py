"""`predict` over a folder: a broken file costs its own row, and what was predicted is on disk as it goes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from classification_parts import tiny_classification, write_picture
from detection_parts import tiny_detection
from diffusion_parts import tiny_diffusion
from PIL import Image
from trainer_parts import tiny, trained
from typer.testing import CliRunner

from trainer import api
from trainer.checkpoints.files import LAST
from trainer.cli import commands as cli
from trainer.cli.tables import growing_table

KINDS: dict[str, Any] = {
    "captioning": tiny, "classification": tiny_classification, "detection": tiny_detection, "diffusion": tiny_diffusion,
}  # fmt: skip


def run(*words: Any) -> Any:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_file_costs_its_own_row(kind: str, tmp_path: Path) -> None:
    trained(KINDS[kind](tmp_path / "run"), until=1)
    folder, suffix = tmp_path / "new", "txt" if kind == "diffusion" else "png"
    folder.mkdir()
    for name in ("b", "d" * 250):
        if suffix == "png":
            write_picture(folder / f"{name}.png")
        else:
            (folder / f"{name}.txt").write_text("a red circle")
    for name in ("a", "c"):
        (folder / f"{name}.{suffix}").write_bytes(b"\xff\xfe broken")
    words = ["predict", folder, "--checkpoint", tmp_path / "run" / LAST, "--output", tmp_path / "out.csv"]
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    rows = rows_in(tmp_path / "out.csv")
    first = next(iter(rows[0]))
    assert list(dict.fromkeys(row[first][0] for row in rows)) == ["a", "b", "c", "d"]
    assert len(rows[0]) > 1
    for row in rows:
        if row[first][0] in "ac":
            assert not any(list(row.values())[1:])
    if kind == "diffusion":
        assert all(Path(row["generated"]).is_file() for row in rows if row["generated"])
    for name in ("b", "d" * 250):
        (folder / f"{name}.{suffix}").unlink()
    done = run(*words)
    assert done.exit_code == 1
    assert "2 unreadable" in done.stderr
    assert "no other in it" in done.stderr
    assert "Traceback" not in done.stderr
    assert [row[first] for row in rows_in(tmp_path / "out.csv")] == [f"a.{suffix}", f"c.{suffix}"]


def test_a_warning_at_the_end_counts_what_has_no_prediction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained(tiny_classification(tmp_path / "run"), until=1)
    for number in range(7):
        write_picture(tmp_path / "new" / f"{number}.png")
    for number in (2, 5):
        (tmp_path / "new" / f"{number}.png").write_bytes(b"")
    rows = list(api.predict(tmp_path / "run" / LAST, tmp_path / "new", {"training.val_batch_size": 2}))
    assert [list(row) == ["image"] for row in rows] == [number in (2, 5) for number in range(7)]
    assert "2 unreadable images: 2.png, 5.png, without a prediction" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_was_predicted_is_on_disk_whatever_ends_it(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.csv"

    def predictions(*_: object) -> Iterator[dict[str, str]]:
        yield {"image": "0.png"}
        yield {"image": "1, first.png", "label": 'a "b"\nc'}
        assert len(rows_in(path)) == 2, "not at the end, but now"
        yield {"image": "2.png", "label": "=1"}
        raise error

    monkeypatch.setattr(cli.api, "predict", predictions)
    done = run("predict", tmp_path, "--checkpoint", tmp_path / "x.pth", "--output", path)
    assert done.exit_code != 0
    assert rows_in(path) == [
        {"image": "0.png", "label": ""},
        {"image": "1, first.png", "label": 'a "b"\nc'},
        {"image": "2.png", "label": "'=1"},
    ]


def test_an_earlier_table_stays_where_nothing_is_predicted(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("earlier")
    done = run("predict", tmp_path, "--checkpoint", tmp_path / "gone.pth", "--output", tmp_path / "out.csv")
    assert done.exit_code == 2
    assert (tmp_path / "out.csv").read_text() == "earlier"


def test_a_table_of_names_alone_is_written_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with growing_table(None) as table:
        for name in ("a", "b"):
            table.add({"image": name})
    assert capsys.readouterr().out == "image\na\nb\n"


def test_images_of_long_names_have_files(tmp_path: Path) -> None:
    made = io.BytesIO()
    Image.new("RGB", (2, 2)).save(made, "PNG")
    for number, name in enumerate(("é" * 120 + ".txt", "é" * 121 + ".txt", "x/y.txt"), start=1):
        cells = cli.with_image_files({"prompt": name, "generated": made.getvalue()}, number, tmp_path / "out")
        assert Path(cells["generated"]).read_bytes() == made.getvalue()
    assert len(list((tmp_path / "out").iterdir())) == 3
