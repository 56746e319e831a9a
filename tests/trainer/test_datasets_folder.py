"""Folders of the `datasets` library and of Parquet files: what is in them becomes files like any other."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classification_parts import tiny_classification, write_folders
from detection_parts import tiny_detection
from diffusion_parts import tiny_diffusion
from PIL import Image
from trainer_parts import tiny

from trainer.api import DataError, check_data
from trainer.data import datasets_folder
from trainer.data.datasets_folder import recognised, unpacked
from trainer.tasks.classification.files import read_table

needs_pyarrow = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
IMAGE = {"_type": "Image"}
KINDS = {"names": ["cat", "dog"], "_type": "ClassLabel"}
LABELLED = {"image": IMAGE, "label": KINDS}


def picture(number: int, kind: str = "PNG") -> dict[str, Any]:
    pixels = np.random.default_rng(number).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return {"bytes": file.getvalue(), "path": f"{number}.{kind.lower()}"}


def labelled(number: int) -> list[dict[str, Any]]:
    return [{"image": picture(n, "JPEG" if n % 2 else "PNG"), "label": n % 2} for n in range(number)]


def table_of(rows: list[dict[str, Any]], features: dict[str, Any] | None) -> Any:
    import pyarrow as pa

    table = pa.Table.from_pylist(rows)
    described = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    return table.replace_schema_metadata(described)


def parquet(path: Path, rows: list[dict[str, Any]], features: dict[str, Any] | None = None) -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table_of(rows, features), path)


def saved(folder: Path, rows: list[dict[str, Any]], features: dict[str, Any]) -> None:
    """As `Dataset.save_to_disk` writes it."""
    import pyarrow as pa

    folder.mkdir(parents=True)
    table = table_of(rows, features)
    path = str(folder / "data-00000-of-00001.arrow")
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=3)
    (folder / "dataset_info.json").write_text("{}", encoding="utf-8")
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")


def config_of(tmp_path: Path) -> Any:
    return tiny_classification(tmp_path / "run", data__images_dir=str(tmp_path / "set"), data__scenes=None)


@needs_pyarrow
def test_a_saved_dictionary_of_data_sets_is_a_split(tmp_path: Path) -> None:
    for side, number in (("train", 8), ("validation", 4), ("test", 2)):
        saved(tmp_path / "set" / side, labelled(number), LABELLED)
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}', "utf-8")
    before = sorted(path.name for path in (tmp_path / "set").rglob("*"))
    config = config_of(tmp_path)
    summary = check_data(config)
    assert (summary.train_images, summary.val_images) == (8, 4)
    assert summary.words == f"12 images of 2 classes from {tmp_path / 'set'}"
    assert "2 images of the split test left out: neither trained nor validated on" in summary.warnings
    table = read_table(config)
    assert table.classes == ("cat", "dog")
    assert table.labels == tuple((n % 2,) for n in (*range(8), *range(4)))
    assert {path.suffix for path in table.images} == {".png", ".jpg"}
    assert table.images[0].read_bytes() == picture(0)["bytes"], "as it was, to the last bit"
    assert sorted(path.name for path in (tmp_path / "set").rglob("*")) == before


@needs_pyarrow
@pytest.mark.parametrize(
    "names",
    [
        ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/validation-0-of-1.parquet"),
        ("train/0000.parquet", "train/0001.parquet", "valid/0000.parquet"),
        ("train_0.parquet", "train_1.parquet", "dev.parquet"),
    ],
)  # fmt: skip
def test_parquet_files_are_a_split_by_their_names(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        parquet(tmp_path / "set" / name, labelled(4), LABELLED)
    summary = check_data(config_of(tmp_path))
    assert (summary.train_images, summary.val_images) == (8, 4)


@needs_pyarrow
def test_one_table_without_a_description_is_split_as_usual(tmp_path: Path) -> None:
    rows = [{"img": row["image"]["bytes"], "category": "ab"[row["label"]]} for row in labelled(10)]
    parquet(tmp_path / "set" / "everything.parquet", rows)
    summary = check_data(config_of(tmp_path))
    assert (summary.train_images, summary.val_images) == (8, 2)
    assert read_table(config_of(tmp_path)).classes == ("a", "b")


@needs_pyarrow
def test_captions_and_boxes_become_files_too(tmp_path: Path) -> None:
    rows = [
        {"image": picture(0), "caption": ["one\ncat", "a cat"], "objects": {"bbox": [[1, 2, 3, 4]], "category": [1]}},
        {"image": picture(1), "caption": ["a “dog”, here"], "objects": {"bbox": [], "category": []}},
    ]
    features = {"image": IMAGE, "objects": {"bbox": {"feature": {}, "_type": "List"}, "category": {"feature": KINDS}}}
    parquet(tmp_path / "set" / "train.parquet", rows, features)
    found = unpacked(tmp_path / "set")
    assert found.captions is not None
    assert found.labels is None
    with found.captions.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    names = ["train/0000000.png", "train/0000001.png"]
    assert lines == [["image", "caption"], [names[0], "one cat"], [names[0], "a cat"], [names[1], "a “dog”, here"]]
    (boxes,) = found.boxes
    coco = json.loads(boxes.read_text(encoding="utf-8"))
    assert [(image["file_name"], image["width"], image["height"]) for image in coco["images"]] == [
        (names[0], 24, 20), (names[1], 24, 20)
    ]  # fmt: skip
    (entry,) = coco["annotations"]
    assert (entry["image_id"], entry["bbox"], entry["category_id"]) == (1, [1, 2, 3, 4], 2)
    assert coco["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert found.words == "images in image and caption and objects"
    with pytest.raises(DataError, match="images in image and caption and objects, but no label"):
        check_data(config_of(tmp_path))


@needs_pyarrow
def test_every_task_reads_what_it_needs(tmp_path: Path) -> None:
    boxes = {"bbox": [[1.0, 2.0, 9.0, 9.0]], "category": [1]}
    rows = [{"image": picture(n), "text": f"a dog {n}", "objects": boxes} for n in range(10)]
    features = {"image": IMAGE, "objects": {"bbox": {"feature": {}}, "category": {"feature": KINDS}}}
    parquet(tmp_path / "set" / "train.parquet", rows, features)
    place = {"data__images_dir": str(tmp_path / "set"), "data__scenes": None}
    for config, words in (
        (tiny(tmp_path / "run", **place), "10 images, 10 captions from"),
        (tiny_detection(tmp_path / "run", **place), "10 images, 10 boxes of 2 classes from"),
        (tiny_diffusion(tmp_path / "run", data__dataset_path=str(tmp_path / "set"), data__scenes=None), "10 captions"),
    ):
        assert words in check_data(config).words
    parquet(tmp_path / "bare" / "train.parquet", [{"image": picture(n)} for n in range(4)])
    for make, words in ((tiny, "but no captions"), (tiny_detection, "but no boxes")):
        with pytest.raises(DataError, match=words):
            check_data(make(tmp_path / "run", data__images_dir=str(tmp_path / "bare"), data__scenes=None))


@needs_pyarrow
def test_a_split_of_boxes_is_kept(tmp_path: Path) -> None:
    boxes = {"bbox": [[1.0, 2.0, 9.0, 9.0]], "category": [1]}
    features = {"image": IMAGE, "objects": {"bbox": {"feature": {}}, "category": {"feature": KINDS}}}
    for side, number in (("train", 5), ("validation", 3)):
        rows = [{"image": picture(n), "objects": boxes} for n in range(number)]
        parquet(tmp_path / "set" / f"{side}.parquet", rows, features)
    summary = check_data(tiny_detection(tmp_path / "run", data__images_dir=str(tmp_path / "set"), data__scenes=None))
    assert (summary.train_images, summary.val_images) == (5, 3)


@needs_pyarrow
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train.parquet": [{"text": "a"}]}, r"train\.parquet: no column of images in it, only text"),
        ({"test.parquet": labelled(2)}, r"no table to train on in it, only test\.parquet"),
        ({"de/0.parquet": labelled(2), "en/0.parquet": labelled(2)}, r"several data sets in it \(de, en\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_unpacked_is_named(files: dict[str, Any], words: str, tmp_path: Path) -> None:
    for name, rows in files.items():
        parquet(tmp_path / "set" / name, rows)
    with pytest.raises(DataError, match=words):
        unpacked(tmp_path / "set")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "train.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"train\.parquet: cannot be read"):
        unpacked(tmp_path / "broken")


def test_without_pyarrow_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    (tmp_path / "set" / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(datasets_folder, "find_spec", lambda _name: None)
    with pytest.raises(DataError) as caught:
        check_data(config_of(tmp_path))
    told = str(caught.value)
    assert told.startswith(
        f"{tmp_path / 'set'}: a folder of the datasets library (1 table such as train-00000-of-00001"
    )
    assert told.endswith("to read it, install pyarrow: pip install 'rungwise[datasets]'")


def test_other_folders_are_not_recognised(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"a": 1, "b": 1})
    assert not recognised(tmp_path / "images")
    assert not recognised(tmp_path / "gone")
    assert not recognised(None)
