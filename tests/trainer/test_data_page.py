"""`python -m trainer data`: what would be trained on, in numbers and as a page."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classification_parts import tiny_classification, write_folders
from detection_parts import tiny_detection
from diffusion_parts import tiny_diffusion
from in_process import command
from PIL import Image
from trainer_parts import TINY, tiny, write_data

from trainer.api import DataError, dump_yaml, resolve_config, show_data
from trainer.run.data_page import Sheet, data_page
from trainer.task.pictures import DataPicture, Marked, pictures_of, pixels_of


class Page(HTMLParser):
    """The texts of a page, its images, and the names of its boxes."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.images: list[Any] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(f"{tag} {dict(attributes).get('class', '')}".strip())
        if tag == "img":
            data = base64.b64decode(dict(attributes)["src"].partition("base64,")[2])
            self.images.append(np.asarray(Image.open(io.BytesIO(data))))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


def shown(config: Any, folder: Path) -> tuple[str, Page]:
    folder.mkdir(parents=True, exist_ok=True)
    text = show_data(config, folder / "data.html", lambda _done, _total: None)
    return text, Page((folder / "data.html").read_text(encoding="utf-8"))


def test_images_are_those_that_the_model_gets(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"猫": 4, "<b>dog": 6})
    files = {"data__images_dir": str(tmp_path / "images"), "data__scenes": None}
    text, page = shown(tiny_classification(tmp_path / "run", **files), tmp_path)
    assert "10 images of 2 classes" in text
    assert "Training: 8 samples, 8 rows an epoch\nValidation: 2 samples" in text
    assert "Image sizes: smallest 24×20 (0.png), median 24×20, largest 24×20 (0.png)" in text
    counts = {
        name: tuple(map(int, numbers)) for name, *numbers in re.findall(r"  (.*): (\d+) in tr.*, (\d+) in v", text)
    }
    assert {name: sum(numbers) for name, numbers in counts.items()} == {"猫": 4, "<b>dog": 6}
    assert len(page.images) == 10
    assert {image.shape for image in page.images} == {(32, 32, 3)}
    assert page.texts.count("<b>dog") == 1 + 6
    assert "b" not in page.tags


def test_normalised_and_mixed_images_are_shown_in_their_colours(tmp_path: Path) -> None:
    for name in "ab":
        for number in range(4):
            path = tmp_path / "images" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (200, 100, 50)).save(path)
    files = {"data__images_dir": str(tmp_path / "images"), "data__scenes": None}
    last = [
        {"ToDtype": {"dtype": "float32", "scale": True}},
        {"Normalize": {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}},
    ]
    for more in ({}, {"data__post_transforms": last}, {"training__mixing": {"p": 1.0, "strategy": "mixup"}}):
        _, page = shown(tiny_classification(tmp_path / "run", **files, **more), tmp_path)
        for image in page.images:
            assert abs(image.astype(int) - [200, 100, 50]).max() <= 1
    assert any("%)" in text for text in page.texts), "mixed images tell the share of each label"


def test_boxes_lie_over_the_images_with_their_names(tmp_path: Path) -> None:
    text, page = shown(tiny_detection(tmp_path / "run"), tmp_path)
    boxes = sum(tag.startswith("div box") for tag in page.tags)
    assert boxes > 10
    assert len(page.images) > 4
    assert re.search(r"  circle: \d+ in training, \d+ in validation", text)


@pytest.mark.parametrize("make", [tiny, tiny_diffusion])
def test_captions_stand_under_their_images(make: Any, tmp_path: Path) -> None:
    text, page = shown(make(tmp_path / "run"), tmp_path)
    assert len(page.images) >= 24
    assert sum("circle" in line or "square" in line for line in page.texts) > 5
    assert re.search(r"  captions: \d+ in training, \d+ in validation", text)
    assert re.search(r"  words that the vocabulary lacks: \d+ in training", text)


def test_captions_of_every_script_are_text_of_the_page(tmp_path: Path) -> None:
    captions = ["كلب أسود", "一只 黑色 的 狗", "שלום <script>alert(1)</script>"]
    rows = [(f"{n}.png", caption) for n, caption in enumerate(captions * 2)]
    config = resolve_config(
        TINY, write_data(tmp_path, rows), {"data.scenes": None, "checkpoint.dir": str(tmp_path / "r")}
    )
    _, page = shown(config, tmp_path)
    assert {"كلب أسود", "一只黑色的狗"} <= set(page.texts)
    assert "script" not in page.tags


def test_warnings_are_shown_and_bad_data_are_an_error(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"Cat": 4, "cat": 9})
    files = {"data__images_dir": str(tmp_path / "images"), "data__scenes": None}
    text, page = shown(tiny_classification(tmp_path / "run", **files), tmp_path)
    for word in ("warning: classes that may be mistakes", "warning: uneven classes"):
        assert word in text
        assert any(line.startswith(word) for line in page.texts)
    (tmp_path / "images" / "stray.png").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="in no class folder"):
        shown(tiny_classification(tmp_path / "run", **files), tmp_path)


def test_the_command_writes_its_page_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(dump_yaml(tiny_classification(tmp_path / "run").plain()), encoding="utf-8")
    for _ in range(2):  # its own page is replaced
        done = command("trainer", ["data", "run.yaml", "data.image_size=40"], tmp_path)
        assert done.returncode == 0, done.stderr
    assert "at 40 px" in done.stdout
    assert done.stdout.endswith("images as the model gets them: data.html\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.html", "run.yaml"]
    (tmp_path / "labels.csv").write_text("image,label\n", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    for name, words in (
        ("folder", "folder is a folder"),
        ("gone/data.html", "gone: no such folder"),
        ("labels.csv", "labels.csv is there already, and is no page"),
    ):
        done = command("trainer", ["data", "run.yaml", "--output", name], tmp_path)
        assert done.returncode == 2
        assert words in done.stderr


def test_numbers_become_pixels_by_their_range() -> None:
    whole = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    for images in (whole, whole * 2 - 1, whole * 100 - 3, whole.movedim(1, -1), whole.half()):
        black, white = pixels_of(images)
        assert black.shape == white.shape == (8, 8, 3)
        assert (int(black.max()), int(white.min())) == (0, 255)
    assert pixels_of(torch.full((1, 1, 8, 8), torch.nan))[0].shape == (8, 8, 1)
    assert pixels_of(torch.zeros(1, 2, 8, 8, dtype=torch.uint8))[0].shape == (8, 8, 1)


def test_a_batch_that_nobody_has_described() -> None:
    batch = {"x": torch.rand(2, 1, 9, 12), "y": torch.tensor([3, 4]), "names": ["a", "b"], "weight": 2}
    pictures = pictures_of(batch)
    assert [picture.texts for picture in pictures] == [["y: 3", "names: a"], ["y: 4", "names: b"]]
    assert pictures_of({"table": torch.rand(2, 7), "tokens": torch.rand(2, 5, 7), "weight": 2}) == []


def test_hostile_texts_stay_texts() -> None:
    bad = "\"><img src=x onerror=alert(1)>\ud800 $title 'x'"
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    sheet = Sheet(
        bad, [DataPicture(pixels, [bad], [Marked((0.0, 0.0, 1.0, 1.0), bad)]), DataPicture(None, [bad])], [bad]
    )
    content = data_page(bad, {bad: bad}, {bad: (1, 2)}, [bad], [sheet, Sheet("t", [], [bad])])
    content.encode("utf-8")
    page = Page(content)
    assert len(page.images) == 1
    assert sum("onerror" in text for text in page.texts) >= 9
