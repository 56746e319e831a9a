"""Boxes on pictures: what stands where, in which words, and that nothing runs out of the picture."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from report_reader import read, section_html, section_text

from reports.boxes import MAX_BOXES, boxed_picture, boxes_text, colours_of, drawable
from reports.record import Box, StudyRecord
from reports.thumbnails import Picture, picture_of

PICTURE = Picture("data:image/jpeg;base64,AAAA", 200, 100)


def drawn(*boxes: Box) -> str:
    return boxed_picture(PICTURE, boxes, colours_of(boxes), "alt", "sample-1", first=True)


def numbers(svg: str, tag: str) -> list[dict[str, float]]:
    tags = re.findall(rf"<{tag} ([^>]*)", svg)
    return [{name: float(value) for name, value in re.findall(r'([\w-]+)="(-?[\d.]+)"', found)} for found in tags]


def test_reference_and_predictions_stand_side_by_side(records: dict[str, StudyRecord]) -> None:
    reader = read(section_html("samples", records["detection"]))
    assert (reader.tags["svg"], reader.tags["image"], reader.tags["use"]) == (8, 2, 6), "each picture embedded once"
    assert reader.tags["rect"] == 2 * (2 + 1 + 2 * (2 + 1) + 2), "two outlines for each box"
    text = section_text("samples", records["detection"])
    assert text.count("reference 2 boxes: circle, traffic light") == 1
    assert text.count("reference 1 box: traffic light") == 1
    assert text.count("2 boxes: circle 0.93, traffic light 0.71") == 2
    assert text.count("1 box: traffic light 0.71") == 2
    assert text.count("1 box: star 0.12") == 2
    assert re.search(r"promoted · trial \d+ · mAP 0\.710", text)


def test_what_is_drawn_is_also_said(records: dict[str, StudyRecord]) -> None:
    labels = read(section_html("samples", records["detection"])).labels
    assert "reference, boxed0.png: 2 boxes: circle, traffic light" in labels
    assert len(labels) == 8


def test_boxes_stand_where_they_are_in_the_file() -> None:
    svg = drawn(Box("cat", (20, 30, 60, 40), 0.5))
    assert 'viewBox="0 0 200 100"' in svg
    assert numbers(svg, "rect") == [{"x": 20, "y": 30, "width": 60, "height": 40}] * 2
    assert "cat 0.50</text>" in svg


@pytest.mark.parametrize(
    "place", [(-50, -50, 500, 500), (190, 90, 50, 50), (400, 400, 5, 5), (50, 50, -10, -10), (0, 0, 1e300, 1e300)]
)
def test_nothing_runs_out_of_the_picture(place: tuple[float, ...]) -> None:
    svg = drawn(Box("a long name of a class", place, 0.5))
    for rect in numbers(svg, "rect"):
        assert 0 <= rect["x"] <= rect["x"] + rect["width"] <= 200
        assert 0 <= rect["y"] <= rect["y"] + rect["height"] <= 100
    (text,) = numbers(svg, "text")
    assert 0 <= text["x"] < 200
    assert 0 < text["y"] <= 100


def test_a_class_has_one_colour_wherever_it_is_drawn(records: dict[str, StudyRecord]) -> None:
    found = re.findall(
        r'stroke="(#\w+)"/><text[^>]*>([a-z ]+?)(?: 0\.\d+)?</text>', section_html("samples", records["detection"])
    )
    assert len(found) == 11
    colours = {label: {colour for colour, other in found if other == label} for _, label in found}
    assert all(len(used) == 1 for used in colours.values())
    assert len(set.union(*colours.values())) == 3


def test_the_likeliest_boxes_are_drawn_and_the_others_counted() -> None:
    many = [Box("a", (1, 1, 5, 5), score / 100) for score in range(40)]
    assert [box.score for box in drawable(many)] == [score / 100 for score in range(39, 39 - MAX_BOXES, -1)]
    assert boxes_text(many).startswith("40 boxes: a 0.39, a 0.38")
    assert boxes_text(many).endswith("and 15 more")
    assert boxes_text([]) == "no box"


def test_references_that_differ_are_both_shown(records: dict[str, StudyRecord]) -> None:
    study = records["detection"]
    first, *others = study.samples
    changed = replace(first, reference_boxes=[Box("moon", (1, 1, 9, 9))])
    text = section_text("samples", replace(study, samples=[changed, *others]))
    assert "1 box: moon" in text
    assert "reference of " in text


def test_without_its_image_a_sample_is_told_in_words(records: dict[str, StudyRecord], tmp_path: Path) -> None:
    study = records["detection"]
    words = ["circle at 40,30,120,110"]
    samples = [replace(sample, image=tmp_path / "gone.png", references=words) for sample in study.samples[:1]]
    text = section_text("samples", replace(study, samples=samples))
    assert "No image: gone.png is missing" in text
    assert words[0] in text


def test_boxes_lie_on_the_picture_as_a_person_sees_it(tmp_path: Path) -> None:
    """Annotations and detectors count pixels of the picture that EXIF has turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (1200, 300), "red").save(tmp_path / "turned.jpg", exif=exif)
    found = picture_of(tmp_path / "turned.jpg")
    assert found is not None
    assert (found.width_px, found.height_px) == (300, 1200)
