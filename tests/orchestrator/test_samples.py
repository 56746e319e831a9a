"""`samples/last.json` as reports see it, whole and damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.results.samples import read_samples
from orchestrator.study.folder import RunFolder
from reports.record import Box, Matrix
from trainer.api import write_whole

WHOLE: dict[str, Any] = {
    "epoch": 2,
    "samples": [
        {
            "image": "/data/3.jpg",
            "references": ["a b"],
            "predictions": ["c"],
            "reference_boxes": [{"label": "cat", "place": [1, 2, 3, 4]}],
            "predicted_boxes": [{"label": "dog", "place": [1, 2, 3, 4.5], "score": 0.5}],
        },
        {"image": "/data/4.jpg", "references": ["x"], "predictions": [], "generated": "4.png"},
        {"references": ["no reference image"], "generated": "/elsewhere/5.png"},
    ],
    "matrix": {"labels": ["cat", "dog"], "counts": [[3, 1], [0, 4]]},
}


def write(folder: Path, text: str) -> RunFolder:
    (folder / "samples").mkdir()
    (folder / "samples" / "last.json").write_text(text, encoding="utf-8")
    return RunFolder(folder)


def test_a_whole_file(tmp_path: Path) -> None:
    kept = read_samples(write(tmp_path, json.dumps(WHOLE)), 7, "full/0007-seed0")
    boxed, generated, alone = kept.samples
    assert kept.problem == ""
    assert (boxed.image, boxed.title, boxed.references, boxed.predictions) == (
        Path("/data/3.jpg"), "3.jpg", ("a b",), ("c",),
    )  # fmt: skip
    assert boxed.reference_boxes == (Box("cat", (1.0, 2.0, 3.0, 4.0)),)
    assert boxed.predicted_boxes == (Box("dog", (1.0, 2.0, 3.0, 4.5), 0.5),)
    assert generated.generated == tmp_path / "samples" / "4.png"
    assert (alone.image, alone.title, alone.generated) == (None, "sample 3", Path("/elsewhere/5.png"))
    assert kept.matrix == Matrix(7, ["cat", "dog"], [[3, 1], [0, 4]], "full/0007-seed0")
    assert {(sample.trial_id, sample.run) for sample in kept.samples} == {(7, "full/0007-seed0")}


def test_a_run_that_kept_nothing(tmp_path: Path) -> None:
    kept = read_samples(RunFolder(tmp_path), 1)
    assert (kept.samples, kept.matrix, kept.problem) == ((), None, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(WHOLE)[:120], "Invalid JSON"),
        ("", "Invalid JSON"),
        ("[]", "should be an object"),
        ('{"samples": [{"image": 3}]}', "samples.0.image"),
        ('{"samples": [{"references": "one text"}]}', "samples.0.references"),
        ('{"matrix": {"labels": ["a", "b"], "counts": [[1, 2]]}}', "a row and a column for each of the 2 labels"),
        ('{"matrix": {"labels": ["a", "b"], "counts": [[1, 2], [3]]}}', "a row and a column for each of the 2 labels"),
    ],
)
def test_a_damaged_file_is_said_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    kept = read_samples(write(tmp_path, text), 1)
    assert (kept.samples, kept.matrix) == ((), None)
    assert kept.problem.startswith(f"{tmp_path / 'samples' / 'last.json'}: ")
    assert words in kept.problem


def test_what_is_not_unicode_is_damage(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "last.json").write_bytes(b'{"samples": [{"references": ["\xff"]}]}')
    assert "samples are not shown" in read_samples(RunFolder(tmp_path), 1).problem


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    images = ["/data/cat/1.jpg", "/data/dog/1.jpg", "/data/dog/2.jpg"]
    kept = read_samples(write(tmp_path, json.dumps({"samples": [{"image": image} for image in images]})), 1)
    assert [sample.title for sample in kept.samples] == ["cat/1.jpg", "dog/1.jpg", "2.jpg"]


def test_names_that_are_no_unicode_are_read_as_they_were_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "samples").mkdir()
    write_whole(tmp_path / "samples" / "last.json", json.dumps({"samples": [{"image": name, "references": ["ä 😀"]}]}))
    (sample,) = read_samples(RunFolder(tmp_path), 1).samples
    assert (sample.image, sample.references) == (tmp_path / "samples" / name, ("ä 😀",))
