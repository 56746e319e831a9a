"""Trials that fail, files that change between calls, and data from people who mean harm or were careless."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
from fault_parts import OVERRIDES, SMALL, TRIALS, NewBox, StudyBox
from PIL import Image

HOSTILE = (
    "<script>document.title='owned'</script> a red circle",
    '=HYPERLINK("http://example.invalid","click") a blue square',
    "</td></table><img src=x onerror=alert(1)> a green star",
    "@SUM(1+1)*cmd|' /C calc'!A0 a grey box",
)


def own_data(folder: Path, images: int = 24, captions: int = 2) -> dict[str, Any]:
    """A folder of images and a caption file of the test's own; returns the overrides that name them."""
    rng = random.Random(3)
    (folder / "images").mkdir(parents=True)
    rows = [["image", "caption"]]
    for number in range(images):
        colour = tuple(rng.randrange(256) for _ in range(3))
        Image.new("RGB", (40, 40), colour).save(folder / "images" / f"{number:03d}.png")
        for caption in range(captions):
            rows.append([f"{number:03d}.png", HOSTILE[(number + caption) % len(HOSTILE)]])
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return {"data.images_dir": str(folder / "images"), "data.caption_file": str(folder / "captions.csv")}


def study_of(data: dict[str, Any], trials: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    model = {key: value for key, value in OVERRIDES.items() if not key.startswith("data.scenes.")}
    overrides = {**model, "data.freq_threshold": 1, **data}
    return {"overrides": overrides, "budget": {"epochs": 2, "subset": 12}, "trials": trials, **more}


@pytest.mark.slow
def test_a_trial_with_nan_is_told_and_the_search_goes_on(box: NewBox) -> None:
    trials = [{"training.optimizer.type": "sgd", "training.optimizer.lr": 1e30}, TRIALS[0], TRIALS[1]]
    one = box({**SMALL, "trials": trials}, "--promote", "1")
    one.run()
    bad, *good = one.rows()
    assert bad["status"] == "failed"
    assert "failed (nan)" in bad["reason"]
    assert "at step " in bad["reason"]
    assert int(bad["epochs"]) <= 1
    assert [row["status"] for row in good] == ["completed", "completed"]
    assert not list((one.study / "full").glob("0001-*"))
    assert "nan" not in json.dumps(one.best()).lower()
    assert one.run().count(" epoch ") == 0, "a failed trial is not tried again on its own"


def test_where_every_trial_fails_nothing_is_best(box: NewBox) -> None:
    trials = [{"training.optimizer.type": "sgd", "training.optimizer.lr": rate} for rate in (1e30, 2e30, 3e30)]
    one = box({**SMALL, "trials": trials}, "--promote", "1")
    said = one.run(status=3)
    assert {row["status"] for row in one.rows()} == {"failed"}
    assert "failed (nan): the training loss is" in said
    assert not (one.study / "best.yaml").exists()
    assert not (one.study / "full").exists()
    assert (one.study / "report.html").stat().st_size > 10_000
    assert one.run(status=3).count(" epoch ") == 0


def test_a_study_that_exists_says_what_changed(finished: StudyBox, oracle: StudyBox) -> None:
    for change in ({"budget": {"epochs": 4, "subset": 30}}, {"overrides": {**OVERRIDES, "model.dropout": 0.4}}):
        finished.write_trials({**SMALL, **change})
        said = finished.run(status=2)
        assert "in the study" in said
        assert "now" in said
        assert "--study NAME" in said
    assert "model.dropout: 0.1 in the study, 0.4 now" in said
    finished.same_as(oracle, promoted=True)


def test_an_edited_trials_file_adds_and_removes_nothing(finished: StudyBox, oracle: StudyBox) -> None:
    edited = [{"training.optimizer.lr": 0.04}, *TRIALS[1:3]]
    finished.write_trials({**SMALL, "trials": edited})
    said = finished.run()
    assert "1 trial added to the study" in said
    *old, new = finished.table()
    assert old == oracle.table()
    assert (new["trial_id"], new["param_training.optimizer.lr"]) == ("7", "0.04")
    assert new["status"] in ("completed", "pruned")


@pytest.mark.slow
def test_data_that_changed_is_refused(box: NewBox) -> None:
    one = box()
    data = own_data(one.folder / "data")
    one.write_trials(study_of(data, TRIALS[:1]))
    one.run()
    captions = Path(data["data.caption_file"])
    captions.write_text(captions.read_text(encoding="utf-8").replace("star", "moon"), encoding="utf-8")
    said = one.run(status=2)
    assert "the files changed; --force continues" in said
    one.write_trials(study_of(data, TRIALS[:2]))
    one.run("--force")
    assert [row["status"] for row in one.rows()] == ["completed", "completed"]
    words = "the data changed during the study"
    assert words in (one.study / "report.html").read_text(encoding="utf-8")
    one.run()
    assert words in (one.study / "report.html").read_text(encoding="utf-8"), "for as long as the study lives"


@pytest.mark.slow
def test_hostile_captions_and_a_corrupt_image(box: NewBox) -> None:
    """What stands in the data is shown as text, in HTML and CSV; a file that is no image is named, or left out."""
    one = box()
    data = own_data(one.folder / "data")
    bad = one.folder / "data" / "images" / "007.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    one.write_trials(study_of(data, TRIALS[:2]))
    worse = bad.with_name("005.png")
    whole = worse.read_bytes()
    worse.write_bytes(b"nothing")
    said = one.run(status=2)
    assert f"error: 2 unreadable images: {worse}, {bad}; data.bad_samples=skip leaves them out" in said
    assert not (one.study / "trials").exists(), "before anything ran"
    worse.write_bytes(whole)
    assert f"error: {bad}: not a readable image" in one.run(status=2), "what was put right needs no new name"
    said = one.run("data.cache_gb=0", "--study", "uncached", status=3)
    assert f"2 trials failed (data): {bad}: not a readable image" in said, "where nothing was decoded before"

    one.write_trials(study_of({**data, "data.bad_samples": "skip"}, TRIALS[:2]))
    said = one.run("--study", "skipping", "--promote", "1")
    assert "23 images" in said
    assert "1 unusable file or row left out" in said
    study = one.folder / "outputs" / "skipping"
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "1 unusable file or row left out" in page
    for caption in HOSTILE[:3]:
        assert caption not in page
    assert "&lt;script&gt;document.title" in page or "\\u003cscript\\u003edocument.title" in page
    with (study / "trials.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+"))]

    (one.folder / "data" / "images" / "008.png").unlink()
    assert "the files changed; --force continues" in one.run("--study", "skipping", status=2)


@pytest.mark.slow
def test_hostile_names_do_not_leave_the_folder(box: NewBox) -> None:
    one = box({**SMALL, "trials": TRIALS[:1]})
    for name in ("../elsewhere", "/tmp/elsewhere", "..", "a/b"):
        said = one.run("--study", name, status=2)
        assert "cannot be the name of a folder" in said
    assert not (one.folder / "elsewhere").exists()
    one.run("--study", "<b>&=1+1", command=())
    page = (one.folder / "outputs" / "<b>&=1+1" / "report.html").read_text(encoding="utf-8")
    assert "<b>&=1+1" not in page


@pytest.mark.slow
def test_every_kind_of_unusable_data_is_said_before_anything_runs(box: NewBox) -> None:
    one = box()
    data = own_data(one.folder / "data")
    captions = Path(data["data.caption_file"])
    whole = captions.read_text(encoding="utf-8")
    cases = {
        whole.replace("image,caption", "id,words", 1): "the header must be image,caption",
        whole + "999.png,gone\n998.png,gone too\n": "2 missing images: 999.png, 998.png",
        whole + "000.png,\n": "empty caption of 000.png",
        "image,caption\n": "no usable caption",
        whole + "image,caption\n": "the header a second time",
    }
    one.write_trials(study_of(data, TRIALS[:1]))
    for text, words in cases.items():
        captions.write_text(text, encoding="utf-8")
        assert words in one.run(status=2)
    captions.write_bytes(whole.encode() + b"000.png,caf\xe9\n")
    assert "not UTF-8" in one.run(status=2)
    assert not one.study.exists()
