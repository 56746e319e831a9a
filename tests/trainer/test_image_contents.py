"""What images hold, over a whole data set: grounds, ranges, single colours; and the names of files."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classification_parts import tiny_classification, write_folders, write_picture, write_table
from detection_parts import coco_content, tiny_detection, write_coco
from diffusion_parts import tiny_diffusion
from PIL import Image
from trainer_parts import session_of, tiny, trained

from trainer.api import ConfigError, DataError, check_data, evaluate, predict
from trainer.checkpoints.files import LAST, load_checkpoint
from trainer.data.image_folders import image_name, with_nearest
from trainer.tasks.detection.files import read_table


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGWISE_CACHE", str(tmp_path / "cache"))


def val_pixels(config: Any) -> np.ndarray:
    with session_of(config) as session:
        return np.concatenate([batch["images"].numpy() for batch in session.run.loaders.val])


def deep_folders(folder: Path, kind: str = "uint16") -> dict[str, Any]:
    """Two classes of grey images with values from 0 to 4095."""
    for number in range(8):
        values = np.random.default_rng(number).integers(0, 4096, (20, 20)).astype(kind)
        values[0, :2] = (0, 4095)
        path = folder / "deep" / "ab"[number % 2] / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    return {"data.images_dir": str(folder / "deep")}


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_deep_images_share_the_range_of_all_and_the_checkpoint_keeps_it(kind: str, tmp_path: Path) -> None:
    config = tiny_classification(tmp_path / "run", deep_folders(tmp_path, kind))
    assert check_data(config).warnings == ()
    pixels = val_pixels(config)
    assert pixels.min() < 20
    assert pixels.max() > 235
    trained(config, until=1)
    state = load_checkpoint(tmp_path / "run" / LAST)
    assert state["value_range"] == [0.0, 4095.0]
    best = tmp_path / "run" / LAST
    assert evaluate(best, {})["val_loss"] == pytest.approx(state["history"][-1]["metrics"]["val_loss"], rel=1e-5)
    few = tmp_path / "few"
    few.mkdir()
    source = tmp_path / "deep" / "a" / "0.tif"
    dim = np.asarray(Image.open(source)) // 16
    Image.fromarray(dim.astype(kind)).save(few / "dim.tif")
    (few / "own.tif").write_bytes(source.read_bytes())
    dim_row, own_row = predict(best, few, {})
    assert dim_row["score"] != own_row["score"], "the range is the data's, and not each file's"
    (whole,) = [row for row in predict(best, tmp_path / "deep", {}) if row["image"] == "a/0.tif"]
    assert whole["score"] == own_row["score"]


def test_a_range_may_be_given(tmp_path: Path) -> None:
    named = deep_folders(tmp_path)
    dark = val_pixels(tiny_classification(tmp_path / "run", named, data__value_range=[0, 65535]))
    assert dark.max() < 16
    for wrong in ([5, 5], [9, 1]):
        with pytest.raises(ConfigError, match=r"data\.value_range: the first must be less than the second"):
            tiny_classification(tmp_path, data__value_range=wrong)


def test_images_without_a_number_everywhere_are_named_before_anything_runs(tmp_path: Path) -> None:
    named = deep_folders(tmp_path, "float32")
    hole = np.full((4, 4), np.inf, np.float32)
    for name in ("0.tif", "2.tif"):
        Image.fromarray(hole).save(tmp_path / "deep" / "a" / name)
    with pytest.raises(DataError, match=r"a/0\.tif: .*NaN or infinite.*\n.*a/2\.tif: "):
        check_data(tiny_classification(tmp_path / "run", named))
    assert check_data(tiny_classification(tmp_path / "run", named, data__bad_samples="skip")).skipped == 2


def test_images_of_eight_bits_leave_no_range(tmp_path: Path) -> None:
    trained(tiny_classification(tmp_path), until=1)
    assert "value_range" not in load_checkpoint(tmp_path / LAST)


def drawings(folder: Path) -> dict[str, Any]:
    """Black drawings on transparent ground."""
    for number in range(8):
        image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
        image.paste((0, 0, 0, 255), (2, 2, 10 + number, 18) if number % 2 else (2, 2, 18, 10 + number))
        path = folder / "icons" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return {"data.images_dir": str(folder / "icons")}


def test_drawings_on_transparent_ground_are_seen_or_said_to_be_invisible(tmp_path: Path) -> None:
    named = drawings(tmp_path)
    config = tiny_classification(tmp_path / "run", named)
    assert check_data(config).warnings == ()
    assert {0, 255} <= set(np.unique(val_pixels(config)).tolist())
    (said,) = check_data(tiny_classification(tmp_path / "run", named, data__background_colour="black")).warnings
    assert said.startswith("8 of 8 images are of a single colour, such as ")
    assert "0.png" in said
    assert "data.background_colour" in said


def test_the_ground_is_kept_for_predictions_and_may_be_another_one(tmp_path: Path) -> None:
    config = tiny_classification(tmp_path / "run", drawings(tmp_path), data__background_colour="#ff8800")
    trained(config, until=1)
    best = tmp_path / "run" / LAST
    own, same, other = (
        [row["score"] for row in predict(best, tmp_path / "icons", overrides)]
        for overrides in ({}, {"data.background_colour": "#ff8800"}, {"data.background_colour": "black"})
    )
    assert own == same != other


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("whitee", 'no colour: a name of CSS such as white, or "#rrggbb" in quotes'),
        ("#11223344", "a ground has no opacity"),
        (0, "must be text"),
    ],
)
def test_what_is_no_colour_is_said(value: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"data\.background_colour: {said}"):
        tiny_classification(tmp_path, data__background_colour=value)


def test_of_many_images_some_are_looked_at(tmp_path: Path) -> None:
    rows = [(f"{number}.png", "ab"[number % 2]) for number in range(260)]
    named = write_table(tmp_path, rows)
    assert check_data(tiny_classification(tmp_path / "run", named)).warnings == ()
    for number in range(130):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "images" / f"{number}.png")
    (said,) = check_data(tiny_classification(tmp_path / "run", named)).warnings
    assert "50 of 100 images looked at (260 in all) are of a single colour" in said


PHONE = {6: (32, 48), 3: (48, 32)}  # orientation → size as a person sees it


def phone_photos(folder: Path, orientation: int, entry: tuple[int, int]) -> dict[str, Any]:
    """Photos of 48 × 32 px as stored, with a red object in the upper left corner of the picture as it is seen."""
    content = coco_content(6)
    content["annotations"] = [
        {"id": n, "image_id": 100 + n, "category_id": 20, "bbox": [0, 0, 16, 12]} for n in range(6)
    ]
    for image in content["images"]:
        image["file_name"] = image["file_name"].replace("png", "jpg")
        image["width"], image["height"] = entry
    named = write_coco(folder, content)
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = Image.new("RGB", PHONE[orientation], "white")
    seen.paste((255, 0, 0), (0, 0, 16, 12))
    back = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}[orientation]
    for image in content["images"]:
        seen.transpose(back).save(folder / "images" / image["file_name"], exif=exif, quality=95)
    return named


@pytest.mark.parametrize("orientation", [3, 6])
def test_boxes_lie_on_the_objects_of_photos_that_exif_turns(orientation: int, tmp_path: Path) -> None:
    config = tiny_detection(tmp_path / "run", phone_photos(tmp_path, orientation, PHONE[orientation]))
    with session_of(config) as session:
        batch = next(iter(session.run.loaders.val))
    red = (batch["images"][0, 0] > 150) & (batch["images"][0, 1] < 100)
    rows, columns = (np.flatnonzero(red.any(side).numpy()) for side in (1, 0))
    x, y, width, height = (batch["boxes"][0] * 64).tolist()
    assert [columns[0], rows[0]] == pytest.approx([x - width / 2, y - height / 2], abs=2)
    assert [columns[-1] + 1, rows[-1] + 1] == pytest.approx([x + width / 2, y + height / 2], abs=2)


def test_entries_with_the_size_before_the_turn_are_told_about_exif(tmp_path: Path) -> None:
    named = phone_photos(tmp_path, 6, (48, 32))
    with pytest.raises(DataError, match=r"6 mis-sized images: 0\.jpg has 32×48 pixels .* before EXIF turns it"):
        check_data(tiny_detection(tmp_path / "run", named))
    with pytest.raises(DataError, match=r"no usable image in it \(6 left out\)\n.*EXIF"):
        check_data(tiny_detection(tmp_path / "run", named, data__bad_samples="skip"))


@pytest.mark.parametrize(
    ("written", "there", "said"),
    [
        ("A.png", "a.PNG", "did you mean a.PNG?"),
        ("a.png", "sub/folder/a.png", "did you mean sub/folder/a.png?"),
        ("sub/a.png", "a.png", "did you mean a.png?"),
        ("C:\\photos\\a.png", "a.png", "did you mean a.png?"),
        ("my%20cat.png", "my cat.png", "did you mean my cat.png?"),
        ("IMG.001", "IMG.001.jpg", "did you mean IMG.001.jpg?"),
        ("a.png", "a.jpeg", "did you mean a.jpeg?"),
        (unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png"), r"'e\u0301.png'"),
        ("a.png", "a.png/x.txt", "(a folder)"),
    ],
)
def test_the_file_that_is_probably_meant_is_named(written: str, there: str, said: str, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).touch()
    (tmp_path / "other.png").touch()
    (near,) = with_nearest([written], tmp_path)
    assert near.startswith(f"{written} (")
    assert said in near


def test_of_two_files_that_may_be_meant_none_is_named(tmp_path: Path) -> None:
    for name in ("x/a.png", "y/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert with_nearest(["a.png", "gone.png", "n" * 300, "nul\0"], tmp_path)[:2] == ["a.png", "gone.png"]


def test_backslashes_are_slashes_where_that_is_the_file(tmp_path: Path) -> None:
    write_picture(tmp_path / "b" / "a.png")
    assert image_name("b\\a.png", tmp_path) == "b/a.png"
    assert image_name(".\\b\\gone.png", tmp_path) == ".\\b\\gone.png"
    if os.name != "nt":
        write_picture(tmp_path / "b\\a.png")
        assert image_name("b\\a.png", tmp_path) == "b\\a.png", "a file of exactly this name"


def test_tables_of_windows_are_read(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"x": 3, "y": 3})
    (tmp_path / "images" / "l.csv").write_text(
        "image,label\n" + "".join(f"{c}\\{n}.png,{c}\n" for c in "xy" for n in range(3))
    )
    labelled = tiny_classification(tmp_path / "run", data__labels_file=str(tmp_path / "images" / "l.csv"))
    assert "6 images of 2 classes" in check_data(labelled).words
    (tmp_path / "images" / "c.csv").write_text(
        "image,caption\n" + "".join(f"{c}\\{n}.png,a {c}\n{c}/{n}.png,one {c}\n" for c in "xy" for n in range(3))
    )
    files = {"data__images_dir": str(tmp_path / "images"), "data__caption_file": str(tmp_path / "images" / "c.csv")}
    assert "6 images, 12 captions" in check_data(tiny(tmp_path / "run", **files)).words
    custom = tiny_diffusion(tmp_path / "run", data__dataset_name="custom", **files)
    assert "6 images, 12 captions" in check_data(custom).words
    content = coco_content(8)
    named = write_coco(tmp_path / "coco", content)
    (tmp_path / "coco" / "images").rename(tmp_path / "coco" / "d")
    for entry in content["images"]:
        entry["file_name"] = f"d\\{entry['file_name']}"
    (tmp_path / "coco" / "annotations.json").write_text(json.dumps(content))
    boxed = tiny_detection(tmp_path / "run", named, data__images_dir=str(tmp_path / "coco"))
    assert read_table(boxed).images[0] == tmp_path / "coco" / "d" / "0.png"


@pytest.mark.skipif(os.name == "nt", reason="names there are Unicode")
def test_names_that_are_no_unicode_are_trained_on_and_predicted_for(tmp_path: Path) -> None:
    for folder in ("a", os.fsdecode(b"\xdf")):
        for number in range(4):
            write_picture(tmp_path / "images" / folder / os.fsdecode(b"caf\xe9%d.png" % number), number)
    trained(tiny_classification(tmp_path / "run", data__images_dir=str(tmp_path / "images")), until=1)
    assert "\\udce9" in (tmp_path / "run" / "samples" / "last.json").read_text(encoding="utf-8")
    assert len(list(predict(tmp_path / "run" / LAST, tmp_path / "images", {}))) == 8
