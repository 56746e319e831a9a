"""Image-text data in its three published forms, and everything that can be wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diffusion_parts import coco_captions, tiny_diffusion, write_captions, write_coco_captions, write_custom

from trainer.api import DataError, check_data
from trainer.tasks.diffusion.files import read_table

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def write_cub(folder: Path, rows: list[tuple[str, str]]) -> dict[str, Any]:
    """Images in class folders, texts beside them under the same names."""
    for name in {name for name, _ in rows}:
        bird = f"00{int(name[0]) % 2}.Bird"
        (folder / "images" / bird).mkdir(exist_ok=True)
        (folder / "images" / name).rename(folder / "images" / bird / name)
        texts = "\n".join(text for other, text in rows if other == name)
        (folder / "text_c10" / bird).mkdir(parents=True, exist_ok=True)
        (folder / "text_c10" / bird / f"{Path(name).stem}.txt").write_text(f"{texts}\n\n")
    return {"data.dataset_name": "cub", "data.dataset_path": str(folder)}


Write = Callable[[Path, list[tuple[str, str]]], dict[str, Any]]
WRITERS: dict[str, Write] = {
    "custom": write_custom,
    "coco": lambda folder, rows: write_coco_captions(folder, coco_captions(rows)),
    "cub": write_cub,
}


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_each_form_gives_the_same_images_and_captions(kind: str, tmp_path: Path) -> None:
    rows = write_captions(tmp_path / "data")
    config = tiny_diffusion(tmp_path, WRITERS[kind](tmp_path / "data", rows))
    table = read_table(config)
    found = dict(zip((path.name for path in table.images), table.captions, strict=True))
    assert found == {name: tuple(text for other, text in rows if other == name) for name, _ in rows}
    assert all(path.is_file() for path in table.images)
    summary = check_data(config)
    assert (summary.train_rows, summary.train_images, summary.val_images) == (8, 8, 2)
    assert "10 images, 20 captions from" in summary.words


def test_coco_as_it_is_unpacked(tmp_path: Path) -> None:
    """Captions in `annotations/`, of several files those of the training images, in a folder of their name."""
    rows = write_captions(tmp_path / "coco")
    (tmp_path / "coco" / "images").rename(tmp_path / "coco" / "train2017")
    named = write_coco_captions(tmp_path / "coco", coco_captions(rows), "annotations/captions_train2017.json")
    write_coco_captions(tmp_path / "coco", coco_captions(rows[:2]), "annotations/captions_val2017.json")
    table = read_table(tiny_diffusion(tmp_path, named))
    assert len(table.images) == 10
    assert table.images[0].parent.name == "train2017"
    elsewhere = {
        "data.dataset_path": None,
        "data.images_dir": str(tmp_path / "coco" / "train2017"),
        "data.caption_file": str(tmp_path / "coco" / "annotations" / "captions_val2017.json"),
    }
    assert len(read_table(tiny_diffusion(tmp_path, named, elsewhere)).images) == 1


@pytest.mark.parametrize("name", ["country_flags_text2image", "nlvr_captions", "coco_cc_mini"])
def test_published_data(name: str, tmp_path: Path) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip("the data sets are not here")
    named = {"data.dataset_name": "custom", "data.dataset_path": str(SHARED / name)}
    table = read_table(tiny_diffusion(tmp_path, named))
    images = {"country_flags_text2image": 255, "nlvr_captions": 547, "coco_cc_mini": 51}
    assert len(table.images) == images[name]


def spoilt_json(content: Any) -> Callable[[Path], None]:
    return lambda folder: (
        (folder / "captions.json").write_text(content if isinstance(content, str) else json.dumps(content)) and None
    )


GOOD = coco_captions([(f"{n}.png", "a thing") for n in range(10)])
BAD: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no json": ("coco", spoilt_json("{"), "captions.json, line 1, column 2: not JSON"),
    "a list": ("coco", spoilt_json([]), "expected COCO captions, a mapping with lists of images and annotations"),
    "boxes": ("coco", spoilt_json({**GOOD, "annotations": [{"image_id": 100, "bbox": [1, 2, 3, 4]}]}),
              "annotation at position 0 has no caption (boxes are another file)"),
    "stranger": ("coco", spoilt_json({**GOOD, "annotations": [{"image_id": 7, "caption": "a"}]}),
                 "annotation at position 0 is of no known image (7)"),
    "silent": ("coco", spoilt_json({**GOOD, "annotations": [{"image_id": 100, "caption": " "}]}),
               "has an empty caption"),
    "twice": ("coco", spoilt_json({**GOOD, "images": [*GOOD["images"], {"id": 100, "file_name": "9.png"}]}),
              "image at position 10 has the id 100 of another (0.png)"),
    "nameless": ("coco", spoilt_json({**GOOD, "images": [{"id": 1}]}), "image at position 0 has no id or file_name"),
    "two files": ("coco", lambda folder: (folder / "captions_b.json").write_text("{}"),
                  "which of the captions? 2 such files: captions.json, captions_b.json; name one"),
    "no captions": ("coco", lambda folder: (folder / "captions.json").unlink(), "no captions*.json or annotations/"),
    "no images": ("custom", lambda folder: (folder / "images").rename(folder / "pictures"), "no such folder of images"),
    "no csv": ("custom", lambda folder: (folder / "captions.csv").unlink(), "no captions.csv or *.csv in it"),
    "missing": ("custom", lambda folder: (folder / "images" / "3.png").unlink(), "1 missing image: 3.png"),
    "no texts": ("cub", lambda folder: (folder / "text_c10").rename(folder / "words"), "no such folder of texts"),
    "lost text": ("cub", lambda folder: (folder / "text_c10" / "001.Bird" / "3.txt").unlink(), "3.txt is missing"),
    "empty text": ("cub", lambda folder: (folder / "text_c10" / "001.Bird" / "3.txt").write_text("\n"),
                   "3.txt is empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(BAD))
def test_what_is_wrong_is_named_before_anything_runs(case: str, tmp_path: Path) -> None:
    kind, spoil, words = BAD[case]
    rows = write_captions(tmp_path / "data")
    config = tiny_diffusion(tmp_path, WRITERS[kind](tmp_path / "data", rows))
    spoil(tmp_path / "data")
    with pytest.raises(DataError) as caught:
        check_data(config)
    assert words in str(caught.value)
    assert str(tmp_path / "data") in str(caught.value)


def test_entries_that_cannot_be_used_are_counted_in_words(tmp_path: Path) -> None:
    write_captions(tmp_path / "data")
    content = {**GOOD, "annotations": [*GOOD["annotations"], {"image_id": 7, "caption": "a"}, {"image_id": 8}]}
    with pytest.raises(DataError, match=r"captions\.json: 2 unusable entries: annotation at position 10 is of no"):
        check_data(tiny_diffusion(tmp_path, write_coco_captions(tmp_path / "data", content)))


def test_what_windows_puts_before_a_text_is_no_word(tmp_path: Path) -> None:
    rows = write_captions(tmp_path / "data")
    named = write_cub(tmp_path / "data", rows)
    (tmp_path / "data" / "text_c10" / "000.Bird" / "2.txt").write_text("a bird", encoding="utf-8-sig")
    table = read_table(tiny_diffusion(tmp_path, named))
    assert ("a bird",) in table.captions


def test_what_cannot_be_seen_or_sampled_is_warned_of(tmp_path: Path) -> None:
    prompts = {"evaluation__prompts": ["a", "b", "c"], "evaluation__samples": 2}
    (said,) = check_data(tiny_diffusion(tmp_path, **prompts)).warnings
    assert said == "evaluation.samples=2 shows the first of 3 evaluation.prompts only"
    steep = {"diffusion__beta_start": 0.3, "diffusion__beta_end": 0.5}
    (said,) = check_data(tiny_diffusion(tmp_path, **steep)).warnings
    assert said.startswith("the last of 1000 levels of noise holds ")
    assert "no image can be sampled from there by predicting epsilon" in said
    assert not check_data(tiny_diffusion(tmp_path, **steep, diffusion__prediction_type="v_prediction")).warnings
    for schedule in ("linear", "squaredcos_cap_v2"):
        assert not check_data(tiny_diffusion(tmp_path, diffusion__beta_schedule=schedule)).warnings


@pytest.mark.parametrize("case", ["missing", "lost text", "empty text"])
def test_or_is_left_out_and_counted(case: str, tmp_path: Path) -> None:
    kind, spoil, _ = BAD[case]
    rows = write_captions(tmp_path / "data")
    config = tiny_diffusion(tmp_path, WRITERS[kind](tmp_path / "data", rows), data__bad_samples="skip")
    spoil(tmp_path / "data")
    summary = check_data(config)
    assert summary.skipped == 1
    assert summary.train_images + summary.val_images == 9
    assert summary.warnings == ("1 unusable file or entry left out (data.bad_samples=skip)",)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder \(data\.dataset_path\)"):
        check_data(tiny_diffusion(tmp_path, data__dataset_path=str(tmp_path / "nowhere")))


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    frechet = {"metrics__frechet_backbone": "resnet18", "metrics__frechet_weights": str(tmp_path / "gone.pth")}
    with pytest.raises(DataError, match=r"gone\.pth: no such file of weights \(metrics\.frechet_weights\)"):
        check_data(tiny_diffusion(tmp_path, **frechet))
