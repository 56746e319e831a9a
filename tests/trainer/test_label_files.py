"""Labels in the forms in which people bring them, their splits, and names that look like mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from classification_parts import tiny_classification, write_folders, write_picture

from trainer.api import DataError, check_data
from trainer.data.class_names import doubtful_classes
from trainer.data.split_names import side_of
from trainer.tasks.classification.files import read_table

ROWS = [(f"{n}.png", "ab"[n % 2]) for n in range(8)]
RECORDS = [{"file_name": name, "label": label} for name, label in ROWS]


def table_of(header: str, delimiter: str) -> str:
    lines = [header] if header else []
    return "".join(f"{line}\n" for line in [*lines, *(delimiter.join(row) for row in ROWS)])


FORMS = {
    "comma": table_of("image,label", ","),
    "other names": table_of("filename,class", ","),
    "capitals": table_of("File_Name,Class Name", ","),
    "semicolon": table_of("image;label", ";"),
    "tab": table_of("img_path\tcategory", "\t"),
    "quotes": table_of('"image";"label"', ";"),
    "no header": table_of("", ","),
    "a list": table_of("", " "),
    "more columns": "id,filename,width,species\n" + "".join(f"{n},{a},32,{b}\n" for n, (a, b) in enumerate(ROWS)),
    "lines": "".join(f"{json.dumps(record)}\n" for record in RECORDS),
    "JSON": json.dumps([{"image": name, "label": label} for name, label in ROWS], indent=1),
    "wrapped": json.dumps({"version": 1, "data": RECORDS}),
    "mapping": json.dumps(dict(ROWS)),
}


def written(folder: Path, text: str, **more: Any) -> Any:
    for number, (name, _) in enumerate(ROWS):
        write_picture(folder / "images" / name, number)
    (folder / "labels.txt").write_text(text, encoding="utf-8")
    places = {"data.images_dir": str(folder / "images"), "data.labels_file": str(folder / "labels.txt")}
    return tiny_classification(folder / "run", places, data__scenes=None, **more)


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_read_in_every_usual_form(form: str, tmp_path: Path) -> None:
    table = read_table(written(tmp_path, FORMS[form]))
    assert [path.name for path in table.images] == [name for name, _ in ROWS]
    assert table.labels == tuple((n % 2,) for n in range(8))
    assert table.classes == ("a", "b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", r"the header must be image,label, or name both .*; found a,b"),
        ("", "found nothing"),
        ('[{"id": 1, "bbox": [1, 2]}]', "no list .* of mappings such as file_name and label"),
        ('{"images": [], "annotations": []}', "no list"),
        (json.dumps([*RECORDS, {"file_name": "0.png"}]), r"1 unusable entry: entry 9: no label of 0\.png"),
        (json.dumps([*RECORDS, {"label": "a"}]), "entry 9: no image name"),
        (json.dumps([*RECORDS, 3]), "entry 9: no mapping"),
        (json.dumps([{"image": "0.png", "label": ["a", "b"]}, *RECORDS]), "entry 1: 0.png is a, b; several"),
        (json.dumps([*RECORDS, {"file_name": "0.png", "label": {"x": 1}}]), r"the label is a mapping \(1 key: x\)"),
        ("image,label,split\n0.png,a,train\n1.png,b,later\n", "the split of 1.png is 'later', none of train, val"),
        ("image,label,split\n0.png,a,train\n0.png,a,val\n", "row 3: 0.png is in val, but in train before"),
        ("image,label,split\n0.png,a,val\n1.png,b,test\n", "names no image to train on, only test, val"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        check_data(written(tmp_path, text))


SPLIT = ["train", "train", "train", "train", "val", "dev", "TEST", "testing"]


@pytest.mark.parametrize("key", ["split", "subset", "data set"])
def test_a_column_of_splits_is_the_split(key: str, tmp_path: Path) -> None:
    lines = [f"{name},{label},{split}\n" for (name, label), split in zip(ROWS, SPLIT, strict=True)]
    tables = [f"image,label,{key}\n{''.join(lines)}"]
    records = [{**record, key: split} for record, split in zip(RECORDS, SPLIT, strict=True)]
    for text in [*tables, json.dumps(records)]:
        summary = check_data(written(tmp_path, text))
        assert (summary.train_images, summary.val_images) == (4, 2)
        assert "2 images of the split test left out: neither trained nor validated on" in summary.warnings
        assert summary.words.count("labels.txt") == 1


def test_a_column_called_dataset_need_not_be_the_split(tmp_path: Path) -> None:
    lines = "".join(f"{name},{label},mine\n" for name, label in ROWS)
    assert len(read_table(written(tmp_path, f"image,label,dataset\n{lines}")).images) == 8


def test_a_split_without_validation_is_drawn_from(tmp_path: Path) -> None:
    lines = "".join(f"{name},{label},{'test' if name == '0.png' else 'train'}\n" for name, label in ROWS)
    summary = check_data(written(tmp_path, f"image,label,split\n{lines}"))
    assert (summary.train_images, summary.val_images) == (6, 1)


@pytest.mark.parametrize(
    ("names", "left_out"),
    [
        (("train", "val"), ""),
        (("Training", "Validation"), ""),
        (("TRAIN", "VALID", "TEST"), "the folder TEST left out"),
        (("train", "dev", "test", "testing"), "the folder test and the folder testing left out"),
        (("training_set", "test_set", "validation-set"), "the folder test_set left out"),
        (("train2017", "val2017"), ""),
    ],
)
def test_folders_of_splits_have_many_names(names: tuple[str, ...], left_out: str, tmp_path: Path) -> None:
    for name in names:
        write_folders(tmp_path / "images" / name, {"a": 3, "b": 3})
    summary = check_data(
        tiny_classification(tmp_path / "run", data__images_dir=str(tmp_path / "images"), data__scenes=None)
    )
    assert (summary.train_images, summary.val_images) == (6, 6)
    assert [line for line in summary.warnings if "left out" in line] == (
        [f"{left_out}: neither trained nor validated on"] if left_out else []
    )


def test_words_that_are_no_side_of_a_split() -> None:
    assert [side_of(name) for name in ("cat", "trains", "test bench", "set", "2017", "")] == [""] * 6


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ({"Cat": 3, "CAT": 2, "cat": 1, "dog": 4}, "'Cat' (3) and 'CAT' (2) and 'cat' (1) differ only in how"),
        ({"1": 1, "01": 2, "1.0": 3, "2": 9}, "'1' (1) and '01' (2) and '1.0' (3) differ only"),
        ({"traffic light": 1, "trafficlight": 2}, "'traffic light' (1) and 'trafficlight' (2) differ only"),
        ({"café": 1, "cafe\u0301": 2}, "'café' (1) and 'cafe\\u0301' (2) differ only"),
        ({"Ａ": 1, "A": 2}, "differ only"),
        ({"a": 1, "nan": 2, "NULL": 3}, "'nan' (2); 'NULL' (3) may stand for a missing label; each is a class"),
        ({"a": 1, "A": 1, "none": 2}, "'a' (1) and 'A' (1) differ only in how they are written, and 'none' (2) may"),
        ({f"{c}{n}": 1 for n in range(7) for c in "xX"}, "and 2 more differ"),
    ],
)
def test_names_of_classes_that_look_like_mistakes(images: dict[str, int], words: str) -> None:
    (warning,) = doubtful_classes(images)
    assert words in warning


def test_names_of_classes_that_are_plainly_two() -> None:
    assert doubtful_classes({"a": 1, "b": 2, "10": 1, "1": 2, "90071992547409931": 1, "90071992547409932": 1}) == []


def test_doubtful_names_are_told_of_folders_and_tables(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"Cat": 3, "cat": 3})
    config = tiny_classification(tmp_path / "run", data__images_dir=str(tmp_path / "images"), data__scenes=None)
    assert sum("'Cat' (3) and 'cat' (3)" in line for line in check_data(config).warnings) == 1
