"""Boxes in the formats that people bring are found by content, and mean the same as COCO JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import box_sets
import pytest
from box_sets import BOXES, CLASSES, HEIGHT, TRAIN, VAL, WIDTH, text
from detection_parts import tiny_detection

from trainer.api import DataError, check_data
from trainer.tasks.detection.files import read_table

Data = Mapping[str, Any]
YAML = "train: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n"


def config_of(folder: Path, data: Data) -> Any:
    named = {f"data.{key}": str(value) if isinstance(value, Path) else value for key, value in data.items()}
    return tiny_detection(folder / "run", named)


def words(folder: Path, **data: Any) -> str:
    with pytest.raises(DataError) as caught:
        check_data(config_of(folder, data))
    return str(caught.value)


def yolo_split(folder: Path) -> None:
    for side, names in (("train", TRAIN), ("val", VAL)):
        box_sets.yolo(folder / "images" / side, folder / "labels" / side, names)


def ultralytics(folder: Path) -> Data:
    yolo_split(folder)
    return {"annotations": text(folder / "data.yaml", f"path: /content/datasets/elsewhere\n{YAML}")}


def ultralytics_folder(folder: Path) -> Data:
    ultralytics(folder)
    return {"images_dir": folder}


def ultralytics_twice(folder: Path) -> Data:
    path = ultralytics(folder)["annotations"]
    return {"train_annotations": path, "val_annotations": path}


def ultralytics_lists(folder: Path) -> Data:
    yolo_split(folder)
    text(folder / "train.txt", "".join(f"./images/train/{name}.png\n" for name in TRAIN))
    text(folder / "val.txt", "".join(f"{folder}/images/val/{name}.png\n" for name in VAL))
    return {"annotations": text(folder / "my.yaml", "train: train.txt\nval: [val.txt]\nnc: 2\nnames: [cat, dog]\n")}


def two_folders_of_labels(folder: Path) -> Data:
    yolo_split(folder)
    text(folder / "classes.txt", "cat\r\ndog\r\n\r\n")
    labels = folder / "labels"
    return {"train_annotations": labels / "train", "val_annotations": labels / "val", "images_dir": folder / "images"}


def folders_of_a_split(folder: Path) -> Data:
    yolo_split(folder)
    text(folder / "classes.txt", "cat\ndog")
    return {"images_dir": folder}


def roboflow_yolo(folder: Path) -> Data:
    for side, names in (("train", TRAIN), ("valid", VAL)):
        box_sets.yolo(folder / side / "images", folder / side / "labels", names)
    text(folder / "data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n")
    return {"images_dir": folder}


def voc_lists(folder: Path) -> Data:
    box_sets.voc(folder / "JPEGImages", folder / "Annotations")
    for side, names in (("train", TRAIN), ("val", VAL)):
        text(folder / "ImageSets" / "Main" / f"{side}.txt", "\n".join(names) + "\n")
    return {"images_dir": folder}


def roboflow_voc(folder: Path) -> Data:
    for side, names in (("train", TRAIN), ("valid", VAL)):
        box_sets.voc(folder / side, folder / side, names)
    return {"images_dir": folder, "box_format": "xyxy"}


def roboflow_coco(folder: Path) -> Data:
    for side, names in (("train", TRAIN), ("valid", VAL)):
        text(folder / side / "_annotations.coco.json", box_sets.coco(names))
        for name in names:
            box_sets.picture(folder / side / f"{name}.png")
    return {"images_dir": folder}


def coco_2017(folder: Path) -> Data:
    for side, names in (("train2017", TRAIN), ("val2017", VAL)):
        text(folder / "annotations" / f"instances_{side}.json", box_sets.coco(names))
        text(folder / "annotations" / f"captions_{side}.json", '{"images": [], "annotations": [{"caption": "a"}]}')
        for name in names:
            box_sets.picture(folder / side / f"{name}.png")
    return {"images_dir": folder}


def image_folder(folder: Path) -> Data:
    for side, names in (("train", TRAIN), ("validation", VAL)):
        box_sets.lines(folder / side, names)
    return {"images_dir": folder}


SPLIT = {
    "YOLO labels": [
        ultralytics,
        ultralytics_folder,
        ultralytics_twice,
        ultralytics_lists,
        two_folders_of_labels,
        folders_of_a_split,
        roboflow_yolo,
    ],
    "Pascal VOC XML": [voc_lists, roboflow_voc],
    "COCO JSON": [roboflow_coco, coco_2017],
    "JSON lines with objects": [image_folder],
}


def flat_polygons(folder: Path) -> Data:
    box_sets.yolo(folder / "images", folder / "labels", polygons=True)
    text(folder / "labels" / "classes.txt", "cat\ndog\n")
    return {"images_dir": folder}


def images_of_a_set(folder: Path) -> Data:
    return {"images_dir": flat_polygons(folder)["images_dir"] / "images"}


def labels_alone(folder: Path) -> Data:
    flat_polygons(folder)
    return {"annotations": folder / "labels"}


def labels_beside_the_images(folder: Path) -> Data:
    box_sets.yolo(folder, folder)
    text(folder / "obj.names", "cat\ndog\n")
    return {"images_dir": folder}


def unpacked_twice(folder: Path) -> Data:
    box_sets.yolo(folder / "set" / "images", folder / "set" / "labels")
    text(folder / "set" / "data.yaml", "train: images\nnames: [cat, dog]\n")
    return {"images_dir": folder}


def voc_without_sizes(folder: Path) -> Data:
    box_sets.voc(folder / "images", folder / "annotations", size="<width>0</width><height>0</height>")
    return {"annotations": folder / "annotations", "images_dir": folder / "images"}


def voc_with_wrong_names(folder: Path) -> Data:
    box_sets.voc(folder / "JPEGImages", folder / "Annotations")
    for name in BOXES:
        text(folder / "Annotations" / f"{name}.xml", box_sets.xml(name, r"C:\data\other.jpg"))
    return {"annotations": folder / "Annotations"}


def coco_near_its_images(folder: Path) -> Data:
    for name in BOXES:
        box_sets.picture(folder / "images" / f"{name}.png")
    return {"annotations": text(folder / "a.json", box_sets.coco(list(BOXES)))}


def lines_of_columns(folder: Path) -> Data:
    return {"annotations": box_sets.lines(folder)}


def lines_of_entries(folder: Path) -> Data:
    box_sets.lines(folder, objects=box_sets.entries)
    return {"images_dir": folder}


WHOLE = {
    "YOLO labels": [flat_polygons, images_of_a_set, labels_alone, labels_beside_the_images, unpacked_twice],
    "Pascal VOC XML": [voc_without_sizes, voc_with_wrong_names],
    "COCO JSON": [coco_near_its_images],
    "JSON lines with objects": [lines_of_columns, lines_of_entries],
}


def cases(table: Mapping[str, list[Callable[[Path], Data]]]) -> list[Any]:
    return [pytest.param(kind, make, id=make.__name__) for kind, makers in table.items() for make in makers]


@pytest.mark.parametrize(("kind", "make"), cases(WHOLE) + cases(SPLIT))
def test_every_layout_has_the_same_boxes(kind: str, make: Callable[[Path], Data], tmp_path: Path) -> None:
    config = config_of(tmp_path, make(tmp_path / "data"))
    before = sorted(tmp_path.rglob("*"))
    summary = check_data(config)
    assert f"10 images, 10 boxes of 2 classes from {tmp_path / 'data'}" in summary.words
    assert summary.words.endswith(f"({kind})")
    assert not [warning for warning in summary.warnings if not warning.startswith("no box to ")]
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written into the user's folders"
    table = read_table(config)
    assert table.classes == CLASSES
    assert table.held_out == (2 if any(make in makers for makers in SPLIT.values()) else 0)
    assert {path.stem for path in table.images} == set(BOXES)
    for path, size, objects in zip(table.images, table.sizes, table.objects, strict=True):
        assert path.is_file()
        assert size == (WIDTH, HEIGHT)
        assert objects.labels.tolist() == [label for label, _ in BOXES[path.stem]]
        for found, (_, box) in zip(objects.boxes.tolist(), BOXES[path.stem], strict=True):
            assert found == pytest.approx(box, abs=1e-4)


@pytest.mark.parametrize("make", [flat_polygons, voc_without_sizes, ultralytics])
def test_a_changed_label_file_is_another_fingerprint(make: Callable[[Path], Data], tmp_path: Path) -> None:
    config = config_of(tmp_path, make(tmp_path / "data"))
    first = check_data(config).fingerprint
    assert check_data(config).fingerprint == first
    (path,) = [path for path in (tmp_path / "data").rglob("00.*") if path.suffix in (".txt", ".xml")]
    path.write_text(path.read_text().replace("0.2", "0.3", 1).replace("<xmin>7", "<xmin>8"))
    os.utime(path, ns=(1, 1))
    assert check_data(config).fingerprint != first


LINES = "0 .5 .5 .1 .1\n7 .5 .5 .1 .1\n0 .5 .5 .1\n0 1.5 .5 .1 .1\nx .5 .5 .1 .1\n0 .5 .5 nan .1\n-1 .5 .5 .1 .1\n"
FAULTS = [
    "00.txt, line 2 of image 00.png has no known category: 7",
    "00.txt, line 3: 4 values instead of 5",
    "00.txt, line 4: 1.5 is no part of the image, which goes from 0 to 1",
    "00.txt, line 5: not only numbers: x .5 .5 .1 .1",
    "00.txt, line 6: nan is no part",
    "00.txt, line 7: -1 is no class number",
]


def test_every_bad_line_of_labels_is_named_or_left_out(tmp_path: Path) -> None:
    data = flat_polygons(tmp_path)
    text(tmp_path / "labels" / "00.txt", LINES)
    text(tmp_path / "labels" / "lone.txt", "0 .5 .5 .1 .1 .9")
    told = words(tmp_path, **data)
    assert f"{tmp_path / 'labels'}: 5 unusable lines" in told
    assert not [fault for fault in FAULTS if fault not in told]
    summary = check_data(config_of(tmp_path, {**data, "bad_samples": "skip"}))
    assert summary.skipped == 6
    assert any("1 file of labels without an image" in warning for warning in summary.warnings)


def test_a_first_file_without_a_good_line_is_named_too(tmp_path: Path) -> None:
    data = flat_polygons(tmp_path)
    text(tmp_path / "labels" / "00.txt", "cat .5 .5 .1 .1\n")
    assert "1 unusable line: 00.txt, line 1: not only numbers: cat" in words(tmp_path, **data)


def test_a_confidence_is_warned_of_and_keypoints_are_left_out(tmp_path: Path) -> None:
    box_sets.yolo(tmp_path / "images", tmp_path / "labels")
    for path in (tmp_path / "labels").iterdir():
        path.write_text("".join(f"{line} 0.9\n" for line in path.read_text().splitlines()))
    data = {"annotations": text(tmp_path / "data.yaml", "train: images\nnames: [cat, dog]\n")}
    assert any(
        "10 lines of labels with a sixth value" in warning for warning in check_data(config_of(tmp_path, data)).warnings
    )
    for path in (tmp_path / "labels").iterdir():
        path.write_text("".join(f"{line} 0.1 0.1 2 0.2 0.2\n" for line in path.read_text().splitlines()))
    text(tmp_path / "data.yaml", "train: images\nnames: [cat, dog]\nkpt_shape: [2, 3]\n")
    table = read_table(config_of(tmp_path, data))
    assert table.objects[0].boxes[0].tolist() == pytest.approx([6, 4, 16, 10], abs=1e-4)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("names: [cat, dog]\n", "names no images to train on"),
        ("train: images\nnc: 3\nnames: [cat, dog]\n", "nc is 3, but there are 2 names"),
        ("train: images\nnames: [yes, dog]\n", "names: 0: True is not a class number with its name"),
        ("train: nowhere\nnames: [cat, dog]\n", "no folder or list of images nowhere"),
        ("train: labels\nnames: [cat, dog]\n", "no image in what it names for train"),
        ("train: images\nnames: [cat\n", "not valid YAML"),
        ("train: images\nnames: cat\n", "names must be a list"),
    ],
)
def test_what_is_wrong_in_a_yaml_file_is_said(content: str, said: str, tmp_path: Path) -> None:
    box_sets.yolo(tmp_path / "images", tmp_path / "labels")
    path = text(tmp_path / "data.yaml", content)
    told = words(tmp_path, annotations=path)
    assert said in told
    assert str(path) in told


def test_classes_without_names_are_called_by_number(tmp_path: Path) -> None:
    box_sets.yolo(tmp_path / "images", tmp_path / "labels")
    config = config_of(tmp_path, {"images_dir": tmp_path})
    assert read_table(config).classes == ("0", "1")
    assert any("no classes.txt" in warning for warning in check_data(config).warnings)


def test_difficult_objects_are_counted_apart_and_damaged_xml_is_named(tmp_path: Path) -> None:
    box_sets.voc(tmp_path / "images", tmp_path / "annotations")
    text(tmp_path / "annotations" / "03.xml", box_sets.xml("03", "03.png", difficult=1))
    data = {"images_dir": tmp_path}
    assert "10 images, 8 boxes and 2 crowds of 2 classes" in check_data(config_of(tmp_path, data)).words
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "ha"}">' for n in range(12))
    damaged = {
        "00": f"<!DOCTYPE a [{laughs}]><annotation><filename>&a11;</filename></annotation>",
        "01": "<annotation><object>",
        "02": box_sets.xml("02", "02.png").replace("<xmax>", "<right>").replace("</xmax>", "</right>"),
        "04": box_sets.xml("04", "04.png", size="<width>64</width><height>32</height>"),
        "gone": box_sets.xml("09", "gone.jpg"),
    }
    for name, content in damaged.items():
        text(tmp_path / "annotations" / f"{name}.xml", content)
    told = words(tmp_path, **data)
    assert "2 unusable XML files: 00.xml (not readable as XML: it defines entities), 01.xml (not" in told
    assert "02.xml, object 1 of image 02.xml (02.png) has no bbox of four numbers" in told
    assert "04.png has 48×32 pixels where its entry says 64×32" in told
    assert "missing image: gone.jpg" in told


def test_a_list_of_images_without_their_xml_names_the_files(tmp_path: Path) -> None:
    data = voc_lists(tmp_path)
    text(tmp_path / "ImageSets" / "Main" / "val.txt", "08\n09\n77\n")
    assert "unusable XML file: 77.xml (No such file" in words(tmp_path, **data)


def test_objects_in_json_lines_are_named_by_record(tmp_path: Path) -> None:
    path = box_sets.lines(tmp_path)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[0]["objects"]["bbox"] = []
    records[1]["objects"]["categories"] = [None]
    records[2]["objects"]["bbox"] = [[1, 2, 3]]
    del records[4]["objects"]
    text(path, "\n".join(map(json.dumps, records)))
    told = words(tmp_path, annotations=path)
    assert "1 has 0 in bbox and 1 in categories" in told
    assert "record 2, object 1 of image record 2 (01.png) has no known category: None" in told
    assert "record 3, object 1 of image record 3 (02.png) has no bbox of four numbers: [1, 2, 3]" in told
    assert "5 has no objects" in told


def test_two_formats_in_one_folder_are_refused_with_the_key_that_decides(tmp_path: Path) -> None:
    box_sets.yolo(tmp_path / "images", tmp_path / "labels")
    text(tmp_path / "classes.txt", "cat\ndog\n")
    text(tmp_path / "a.json", box_sets.coco(list(BOXES)))
    told = words(tmp_path, images_dir=tmp_path)
    assert f"it holds COCO JSON ({tmp_path}/a.json) and YOLO labels ({tmp_path}/labels)" in told
    for path, kind in (("a.json", "COCO JSON"), ("labels", "YOLO labels")):
        assert f"({kind})" in check_data(config_of(tmp_path, {"annotations": tmp_path / path})).words
    text(tmp_path / "b.json", box_sets.coco(TRAIN))
    assert "COCO JSON in 2 files: a.json, b.json; name what to read" in words(tmp_path, images_dir=tmp_path)


def test_a_folder_without_annotations_says_what_was_looked_for(tmp_path: Path) -> None:
    box_sets.picture(tmp_path / "images" / "a.png")
    text(tmp_path / "images" / "a.txt", "2 cats on a mat, 1 dog")
    assert "no annotations in it (COCO JSON, YOLO labels, Pascal VOC XML or JSON" in words(
        tmp_path, images_dir=tmp_path
    )
    strange = text(tmp_path / "a.csv", "image,box\n")
    assert f"{strange}: expected COCO JSON or another file" in words(tmp_path, annotations=strange)


def test_a_formats_own_convention_cannot_be_changed(tmp_path: Path) -> None:
    data = flat_polygons(tmp_path)
    told = words(tmp_path, **data, box_format="xyxy")
    assert "its format has boxes as centre, width, height in parts of the image; leave data.box_format" in told
    own = {**data, "box_format": "cxcywh", "box_units": "fraction"}
    assert check_data(config_of(tmp_path, own)).skipped == 0
