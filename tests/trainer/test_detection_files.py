"""Detection data: every fault is named by file and id, and the policy is an option."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detection_parts import coco_content, tiny_detection, write_coco
from PIL import Image
from trainer_parts import trained

from trainer.api import DataError, check_data, prepare_data
from trainer.tasks.detection.files import read_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def config_of(data: dict[str, Any], **overrides: Any) -> Any:
    run = Path(data["data.images_dir"]).parent / "run"
    return tiny_detection(run, data, **overrides)


def test_sound_data_are_counted(folder: Path) -> None:
    config = config_of(write_coco(folder, coco_content()), training__subset_size=3, data__val_subset_size=1)
    summary = check_data(config)
    assert (summary.train_split_images, summary.train_images, summary.train_rows) == (8, 3, 3)
    assert (summary.val_images, summary.skipped) == (1, 0)
    assert "10 images, 10 boxes and 1 crowd of 2 classes" in summary.words


def test_labels_are_contiguous_boxes_clipped_and_crowds_marked(folder: Path) -> None:
    table = read_table(config_of(write_coco(folder, coco_content())))
    assert table.classes == ("cat", "traffic light"), "in the order of their ids, 11 and 20"
    assert [path.name for path in table.images] == [f"{n}.png" for n in range(10)]
    assert len(table.objects[0]) == 0
    assert table.objects[1].labels.tolist() == [0]
    assert table.objects[2].labels.tolist() == [1]
    assert table.objects[3].crowd.tolist() == [False, True]
    assert table.objects[3].areas.tolist() == [20 * 15, 600], "the annotation's area, else the box's"
    assert table.objects[6].boxes[1].tolist() == [0, 20, 20, 12]
    assert table.objects[6].areas[1] == 240


def broken(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    content = coco_content()
    change(content)
    return content


FAULTS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (
        lambda c: c["annotations"][0].update(bbox=[5, 5, 0, 4]),
        r"unusable annotation: 7 of image 101 \(1\.png\) has no",
    ),
    (lambda c: c["annotations"][0].update(bbox=[5, 5, -3, 4]), "annotation: 7 of image 101 .*no area inside"),
    (lambda c: c["annotations"][0].update(bbox=[48, 5, 9, 4]), "annotation: 7 of image 101 .*no area inside"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "annotation: 7 of image 101 .*bbox of four numbers"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, None]), "annotation: 7 .*bbox of four numbers"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, float("nan")]), "annotation: 7 .*bbox of four numbers"),
    (lambda c: c["annotations"][0].update(category_id=1), "annotation: 7 of image 101 .*no known category"),
    (lambda c: c["annotations"][0].update(image_id=1), "annotation: 7 belongs to no image"),
    (lambda c: c["annotations"].append("x"), "annotation: at 11 belongs to no image"),
    (lambda c: c["images"].append({"id": 5, "file_name": "gone.png", "width": 1, "height": 1}), r"missing image: gone"),
    (lambda c: c["images"][4].pop("width"), r"unusable image: 104 \(4\.png\) has no width and height"),
    (lambda c: c["images"][4].pop("file_name"), "image: 104 has no file_name"),
    (lambda c: c["images"][4].update(id=105), r"image: 105 \(5\.png\) has the id of another"),
    (lambda c: c["images"][4].update(file_name="3.png"), r"image: 104 \(3\.png\) names the file of another"),
    (lambda c: c["images"][4].update(width=480), r"4\.png has 48×32 pixels where its entry says 480×32"),
    (lambda c: c["images"].append(7), "image: at 10 has no id"),
    (
        lambda c: c["annotations"][0].update(iscrowd="maybe"),
        r"7 of image 101 \(1\.png\) has an iscrowd that is neither 0 nor 1: 'maybe'",
    ),
    (
        lambda c: c["annotations"][0].update(bbox=None, segmentation={"size": [32, 48], "counts": "a0"}),
        "7 of image 101 .*has no bbox, and a mask that is no polygon",
    ),
    (lambda c: c["annotations"][0].update(bbox=[4, 3, 10**400, 3]), "annotation: 7 .*bbox of four numbers"),
]
FATAL: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda c: c.pop("images"), "expected COCO JSON.*images, annotations, categories"),
    (lambda c: c["categories"].clear(), 'no category in it; its boxes need {"id": 11, "name"'),
    (lambda c: c["categories"][0].pop("name"), "category at position 0 needs an id and a name"),
    (
        lambda c: c["categories"][0].update(name="cat"),
        "categories 20 and 11 have one name, cat, and both have boxes",
    ),
    (lambda c: c["images"].clear(), "annotation"),
    (lambda c: c["annotations"].clear(), "none of the 8 training images has a box"),
]


def set_all(content: dict[str, Any], name: str, change: Callable[[Any], Any]) -> None:
    for entry in content["images"] if name in ("width", "height") else content["annotations"]:
        entry[name] = change(entry.get(name))


UNDERSTOOD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "iscrowd as text": lambda c: set_all(c, "iscrowd", lambda old: "1" if old else "0"),
    "iscrowd as words": lambda c: set_all(c, "iscrowd", lambda old: "True" if old else "false"),
    "iscrowd as floats or nothing": lambda c: set_all(c, "iscrowd", lambda old: 1.0 if old else None),
    "ids of images as floats": lambda c: set_all(c, "image_id", float),
    "ids of images as text": lambda c: set_all(c, "image_id", str),
    "ids of categories as text": lambda c: set_all(c, "category_id", str),
    "text ids of images": lambda c: [entry.update(id=str(entry["id"])) for entry in c["images"]],
    "text ids of categories": lambda c: [entry.update(id=str(entry["id"])) for entry in c["categories"]],
    "widths as text": lambda c: [set_all(c, side, str) for side in ("width", "height")],
    "boxes as text": lambda c: set_all(c, "bbox", lambda box: [str(value) for value in box]),
    "a category twice": lambda c: c["categories"].append(dict(c["categories"][0])),
    "an unused category of the same name": lambda c: c["categories"].insert(0, {"id": 0, "name": "cat"}),
    "an unused group of categories": lambda c: [
        *(entry.update(supercategory="things") for entry in c["categories"]),
        c["categories"].append({"id": 0, "name": "things", "supercategory": "none"}),
    ],
}


@pytest.mark.parametrize("change", UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_what_is_written_in_another_way_is_understood(change: Callable[[dict[str, Any]], Any], folder: Path) -> None:
    plain = read_table(config_of(write_coco(folder, coco_content())))
    table = read_table(config_of(write_coco(folder, broken(change), "other.json")))
    assert table.classes == plain.classes == ("cat", "traffic light")
    for found, expected in zip(table.objects, plain.objects, strict=True):
        for name in ("boxes", "labels", "crowd", "areas"):
            assert getattr(found, name).tolist() == getattr(expected, name).tolist()


def test_7_and_7_as_text_are_two_images_where_both_are_there(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["images"][0]["id"] = "101"
        content["annotations"][0]["image_id"] = "101"

    table = read_table(config_of(write_coco(folder, broken(change))))
    assert [len(objects) for objects in table.objects[:2]] == [1, 0]


def test_a_mask_without_a_box_gives_its_box(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        del content["annotations"][0]["bbox"]
        content["annotations"][0]["segmentation"] = [[5, 4, 20, 4, 20, 10, 5, 10], [30, 2, 31, 12, 30, 12.5]]

    table = read_table(config_of(write_coco(folder, broken(change))))
    assert table.objects[1].boxes.tolist() == [[5, 2, 26, 10.5]]


@pytest.mark.parametrize(("change", "words"), FAULTS + FATAL)
def test_a_fault_is_named(change: Callable[[dict[str, Any]], Any], words: str, folder: Path) -> None:
    data = write_coco(folder, coco_content())
    write_coco(folder, broken(change))
    Path(folder, "images", "gone.png").unlink(missing_ok=True)
    with pytest.raises(DataError, match=words):
        check_data(config_of(data))


@pytest.mark.parametrize("change", [change for change, _ in FAULTS])
def test_skipping_leaves_it_out_and_counts_it(change: Callable[[dict[str, Any]], Any], folder: Path) -> None:
    data = write_coco(folder, coco_content())
    write_coco(folder, broken(change))
    Path(folder, "images", "gone.png").unlink(missing_ok=True)
    summary = check_data(config_of(data, data__bad_samples="skip"))
    assert summary.skipped >= 1
    assert "left out" in summary.warnings[0]


def test_all_faults_come_at_once_and_many_are_counted(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for entry in content["annotations"]:
            entry["bbox"] = [0, 0, 0, 0]
        content["images"][0]["file_name"] = "gone.png"

    data = write_coco(folder, broken(change))
    (folder / "images" / "gone.png").unlink()
    with pytest.raises(DataError) as caught:
        check_data(config_of(data))
    assert "11 unusable annotations: 7 of" in str(caught.value)
    assert "and 6 more" in str(caught.value)
    assert "1 missing image: gone.png" in str(caught.value)
    assert str(folder / "annotations.json") in str(caught.value)
    assert "data.bad_samples=skip" in str(caught.value)


def test_text_that_is_no_json_is_an_error(folder: Path) -> None:
    data = write_coco(folder, coco_content())
    Path(data["data.annotations"]).write_bytes(b"\x80\x04not json")
    with pytest.raises(DataError, match=r"annotations\.json, line 1: not UTF-8 text"):
        check_data(config_of(data))


@pytest.mark.parametrize("missing", ["data.images_dir", "data.annotations"])
def test_files_that_are_not_there_are_named_with_their_key(missing: str, folder: Path) -> None:
    data = write_coco(folder, coco_content()) | {missing: str(folder / "gone")}
    with pytest.raises(DataError, match=rf"gone: no such .*\({missing}\)"):
        check_data(tiny_detection(folder / "run", data))


def test_an_unreadable_image_stops_the_run_or_is_skipped(folder: Path) -> None:
    data = write_coco(folder, coco_content())
    path = folder / "images" / "4.png"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"4\.png: not a readable image .*data\.bad_samples=skip"):
        trained(config_of(data), until=1)
    config = config_of(data, data__bad_samples="skip")
    assert check_data(config).skipped == 1
    assert len(read_table(config).images) == 9
    assert trained(config, until=1).epoch == 1


def two_files(folder: Path, train: range, val: range, content: dict[str, Any] | None = None) -> dict[str, Any]:
    whole = content or coco_content()
    data = write_coco(folder, whole)
    del data["data.annotations"]
    for name, part in (("train", train), ("val", val)):
        kept = [entry for n, entry in enumerate(whole["images"]) if n in part]
        ids = {entry["id"] for entry in kept}
        boxes = [entry for entry in whole["annotations"] if entry["image_id"] in ids]
        write_coco(folder, {**whole, "images": kept, "annotations": boxes}, f"{name}.json")
        data[f"data.{name}_annotations"] = str(folder / f"{name}.json")
    return data


def test_two_files_are_the_split(folder: Path) -> None:
    data = two_files(folder, range(7), range(7, 10))
    summary = check_data(config_of(data, data__val_split=0.9))
    assert (summary.train_split_images, summary.train_images, summary.val_images) == (7, 7, 3)
    few = check_data(config_of(data, training__subset_size=2, data__val_subset_size=1))
    assert (few.train_split_images, few.train_images, few.val_images) == (7, 2, 1)
    overfit = check_data(config_of(data, training__overfit=True, training__subset_size=4))
    assert (overfit.train_images, overfit.val_images) == (4, 4)
    table = read_table(config_of(data))
    assert [path.name for path in table.images[-table.held_out :]] == ["7.png", "8.png", "9.png"]


def test_an_image_in_both_files_is_warned_of(folder: Path) -> None:
    (warning,) = check_data(config_of(two_files(folder, range(7), range(5, 10)))).warnings
    assert warning == "2 images are trained and validated on, such as 5.png"


def test_two_files_must_mean_the_same_by_an_id(folder: Path) -> None:
    data = two_files(folder, range(7), range(7, 10))
    path = Path(data["data.val_annotations"])
    text = path.read_text()
    path.write_text(text.replace('"name": "cat"', '"name": "dog"'))
    with pytest.raises(DataError, match=r"val\.json: category 11 is dog, but cat elsewhere"):
        check_data(config_of(data))
    path.write_text(text.replace('"id": 11,', '"id": 12,').replace('"category_id": 11', '"category_id": 12'))
    with pytest.raises(DataError, match=r"a category has another id than in .*train\.json"):
        check_data(config_of(data))


def test_validation_images_may_lie_elsewhere(folder: Path) -> None:
    data = two_files(folder, range(7), range(7, 10))
    (folder / "elsewhere").mkdir()
    for n in range(7, 10):
        (folder / "images" / f"{n}.png").rename(folder / "elsewhere" / f"{n}.png")
    data["data.val_images_dir"] = str(folder / "elsewhere")
    assert check_data(config_of(data)).val_images == 3
    with pytest.raises(DataError, match=r"gone: no such folder of images \(data\.val_images_dir\)"):
        check_data(config_of({**data, "data.val_images_dir": str(folder / "gone")}))


def test_a_change_of_any_file_changes_the_fingerprint(folder: Path) -> None:
    config = config_of(write_coco(folder, coco_content()))
    prints = [check_data(config).fingerprint]
    Image.fromarray(np.zeros((32, 48, 3), dtype=np.uint8)).save(folder / "images" / "3.png")
    prints.append(check_data(config).fingerprint)
    content = coco_content()
    content["annotations"][0]["bbox"][0] += 1
    (folder / "annotations.json").write_text(json.dumps(content))
    prints.append(check_data(config).fingerprint)
    assert len(set(prints)) == 3


def test_what_will_surprise_is_said_beforehand(folder: Path) -> None:
    data = write_coco(folder, coco_content())
    warnings = check_data(config_of(data, model__num_queries=1, training__subset_size=50)).warnings
    assert "subset of 50 images asked for, but the training split has 8" in warnings[0]
    assert "an image has 2 boxes, the model finds at most model.num_queries=1" in warnings[1]


def test_a_class_on_one_side_only_is_warned_of(folder: Path) -> None:
    def of_one_class(content: dict[str, Any]) -> None:
        for entry in content["annotations"]:
            entry["category_id"] = 20 if entry["image_id"] > 106 else 11

    data = two_files(folder, range(7), range(7, 10), broken(of_one_class))
    assert check_data(config_of(data)).warnings == (
        "no box to train on for class traffic light",
        "no box to validate on for class cat",
    )


def test_the_built_in_scenes_are_counted_before_they_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGWISE_CACHE", str(tmp_path / "cache"))
    config = tiny_detection(tmp_path / "run", data__scenes__images=12)
    summary = check_data(config)
    assert (summary.train_split_images, summary.val_images) == (10, 2)
    assert not (tmp_path / "cache").exists()
    prepare_data(config, lambda _done, _of: None)
    table = read_table(config)
    assert len(table.images) == 12
    assert table.classes == ("circle", "cross", "square", "star", "triangle")
