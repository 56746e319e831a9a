"""What the numbers of a file of boxes say of how they are written: no false alarm, and no silent mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detection_parts import coco_content, tiny_detection, write_coco

from trainer.api import DataError, check_data
from trainer.tasks.detection.conventions import Convention, Floats, contradiction, corners, disagreement, misplaced
from trainer.tasks.detection.files import read_table

CONVENTIONS = [Convention(form, units) for units in ("pixels", "fraction") for form in ("xywh", "xyxy", "cxcywh")]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def written(convention: Convention, boxes: Floats, sizes: Floats) -> Floats:
    """Boxes given as xywh in pixels, in another convention."""
    boxes = boxes.copy()
    if convention.format == "xyxy":
        boxes[:, 2:] += boxes[:, :2]
    if convention.format == "cxcywh":
        boxes[:, :2] += boxes[:, 2:] / 2
    return boxes / np.tile(sizes, 2) if convention.units == "fraction" else boxes


def correct(random: np.random.Generator, style: str, count: int) -> tuple[Floats, Floats]:
    """Boxes in their images, some at the border and some rounded over it."""
    sizes = random.integers(1, 6, (count, 2)) if style == "tiny images" else random.integers(20, 800, (count, 2))
    if style == "one pixel":
        sizes = np.ones((count, 2))
    share = {"big": random.uniform(0.6, 1, (count, 2)), "whole": np.ones((count, 2))}
    inside = sizes * share.get(style, random.beta(1, 3, (count, 2)))
    inside = np.clip(np.ones((count, 2)) if style == "points" else inside, 1, sizes)
    start = random.uniform(0, 1, (count, 2)) * (sizes - inside)
    start = np.where(random.random((count, 1)) < 0.3, sizes - inside, start)
    boxes = np.concatenate([start, inside], axis=1)
    boxes = np.where(random.random((count, 1)) < 0.5, np.round(boxes), boxes)
    boxes[:, :2] -= 0.7 * (random.random((count, 1)) < 0.1)
    return boxes, sizes.astype(np.float64)


@pytest.mark.parametrize("style", ["any", "big", "whole", "points", "tiny images", "one pixel"])
def test_correct_boxes_are_never_refused(style: str) -> None:
    random = np.random.default_rng(7)
    for count in (1, 2, 3, 5, 10, 30, 200):
        for _ in range(10):
            boxes, sizes = correct(random, style, count)
            for convention in CONVENTIONS:
                numbers = written(convention, boxes, sizes)
                assert contradiction(numbers, sizes, convention, fixed=False) == ""
                places = corners(numbers, sizes, convention)
                assert places == pytest.approx(written(CONVENTIONS[1], boxes, sizes))
                assert not misplaced(places, sizes).any()


def test_many_boxes_in_another_convention_are_refused_with_the_options_for_it() -> None:
    boxes, sizes = correct(np.random.default_rng(3), "any", 200)
    for true in CONVENTIONS:
        for said in CONVENTIONS:
            told = contradiction(written(true, boxes, sizes), sizes, said, fixed=False)
            assert told == "" if true == said else told.endswith(f"set {true.options(said)}"), (true, said, told)


def config_of(folder: Path, content: dict[str, Any], **overrides: Any) -> Any:
    return tiny_detection(folder / "run", write_coco(folder, content), **overrides)


def with_boxes(change: Any) -> dict[str, Any]:
    content = coco_content()
    content["annotations"] = [entry for entry in content["annotations"] if entry["id"] != 901]
    for entry in content["annotations"]:
        entry["bbox"] = change(*entry["bbox"])
    return content


CHANGES = {
    "data.box_format=xyxy": lambda x, y, w, h: [x + 12, y, min(48, x + 12 + w), y + h],
    "data.box_format=cxcywh data.box_units=fraction": lambda x, y, w, h: [
        (x + w / 2) / 48,
        (y + h / 2) / 32,
        w / 48,
        h / 32,
    ],
    "data.box_units=fraction": lambda x, y, w, h: [(x + 9) / 48, y / 32, w / 48, h / 32],
}


@pytest.mark.parametrize("options", CHANGES)
@pytest.mark.parametrize("policy", ["error", "skip"])
def test_the_options_of_the_message_make_the_data_usable(options: str, policy: str, tmp_path: Path) -> None:
    content = with_boxes(CHANGES[options])
    with pytest.raises(DataError) as caught:
        check_data(config_of(tmp_path, content, data__bad_samples=policy))
    assert options in str(caught.value)
    assert str(tmp_path / "annotations.json") in str(caught.value)
    keys = dict(option.split("=") for option in options.split())
    table = read_table(config_of(tmp_path, content, **{key.replace(".", "__"): value for key, value in keys.items()}))
    shift = {"data.box_format=xyxy": 12, "data.box_units=fraction": 9}.get(options, 0)
    assert table.objects[1].boxes == pytest.approx(np.array([[5 + shift, 3, 20, 13]]))


def test_a_wrong_option_is_refused_too(tmp_path: Path) -> None:
    for option in ({"data__box_units": "fraction"}, {"data__box_format": "xyxy"}):
        with pytest.raises(DataError, match=r"do not fit into their images as .* set data\."):
            check_data(config_of(tmp_path, with_boxes(lambda x, y, w, h: [x + 14, y, w - 8, h]), **option))


def test_a_single_box_that_sticks_out_is_named_and_its_size_said(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"][0]["bbox"] = [30, 3, 26, 12]
    with pytest.raises(DataError, match=r"7 of image 101 \(1\.png\) sticks out of the image's 48×32 pixels: \[30, 3, "):
        check_data(config_of(tmp_path, content))
    assert check_data(config_of(tmp_path, content, data__bad_samples="skip")).skipped == 1


def test_boxes_of_one_pixel_and_images_of_one_pixel_are_data(tmp_path: Path) -> None:
    content = with_boxes(lambda x, y, _w, _h: [x, y, 1, 1])
    assert check_data(config_of(tmp_path, content)).skipped == 0


@pytest.mark.skipif(not SHARED.is_dir(), reason="the data are not there")
@pytest.mark.parametrize("name", ["bccd_detection", "coco_cc_mini"])
def test_real_data_are_understood_and_their_corners_refused(name: str, tmp_path: Path) -> None:
    content = json.loads((SHARED / name / "annotations.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(content))
    data = {"data.images_dir": str(SHARED / name / "images"), "data.annotations": str(tmp_path / "a.json")}
    assert check_data(tiny_detection(tmp_path, data)).skipped == 0
    for entry in content["annotations"]:
        left, top, width, height = entry["bbox"]
        entry["bbox"] = [left, top, left + width, top + height]
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"boxes do not fit .* set data\.box_format=xyxy"):
        check_data(tiny_detection(tmp_path, data))


@pytest.mark.parametrize("said", CONVENTIONS, ids=lambda convention: f"{convention.format} {convention.units}")
def test_polygons_and_areas_beside_boxes_tell_what_borders_cannot(said: Convention) -> None:
    """Small boxes near the origin fit into large images in most conventions."""
    random = np.random.default_rng(3)
    sizes = np.full((12, 2), 400.0)
    boxes = np.concatenate([random.uniform(5, 60, (12, 2)), random.uniform(20, 90, (12, 2))], axis=1)
    outlines = corners(boxes, sizes, Convention())
    areas, nothing = boxes[:, 2:].prod(axis=1) * 0.8, np.full(12, np.nan)
    given = written(said, boxes, sizes)
    for right in CONVENTIONS:
        told = disagreement(given, sizes, outlines, areas, right)
        assert bool(told) == (right != said)
        assert not told or said.options(right) in told
    assert disagreement(given, sizes, np.full((12, 4), np.nan), nothing, Convention("xyxy")) == ""
    assert disagreement(given, sizes, np.full((12, 4), np.nan), areas, said) == ""


def test_corners_that_fit_into_their_images_are_told_by_their_polygons(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"] = [
        {
            "id": n, "image_id": 100 + n, "category_id": 20, "bbox": [4, 5, 12 + n, 14],
            "segmentation": [[4, 5, 12 + n, 5, 12 + n, 14, 4, 14]], "area": 9 * (8 + n),
        }
        for n in range(1, 8)
    ]  # fmt: skip
    named = write_coco(tmp_path, content)
    with pytest.raises(DataError, match=r"7 of 7 boxes do not fit their polygons(?s:.)*set data.box_format=xyxy"):
        check_data(tiny_detection(tmp_path / "run", **{key.replace(".", "__"): value for key, value in named.items()}))
    named["data.box_format"] = "xyxy"
    table = read_table(tiny_detection(tmp_path / "run", **{k.replace(".", "__"): v for k, v in named.items()}))
    assert table.objects[1].boxes.tolist() == [[4.0, 5.0, 9.0, 9.0]]


def test_boxes_that_files_hold_twice_are_warned_of(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"] += [{**entry, "id": 5000 + entry["id"]} for entry in content["annotations"][:3]]
    named = {key.replace(".", "__"): value for key, value in write_coco(tmp_path, content).items()}
    warned = check_data(tiny_detection(tmp_path / "run", **named)).warnings
    assert [line for line in warned if line.endswith("3 boxes repeated in the same image and class")]
