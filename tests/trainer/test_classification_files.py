"""Labelled images as files: folders and tables, with everything that can be wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classification_parts import tiny_classification, write_folders, write_picture, write_table

from trainer.api import ConfigError, DataError, check_data, prepare_data
from trainer.data.splits import select
from trainer.tasks.classification.files import read_table
from trainer.tasks.classification.source_images import open_source_images

BCE = {"criterion.type": "bce_with_logits"}


def config_of(folder: Path, *layers: dict[str, Any], **overrides: Any) -> Any:
    return tiny_classification(folder / "run", *layers, **overrides)


def in_folders(folder: Path, **overrides: Any) -> Any:
    return config_of(folder, {"data.images_dir": str(folder / "images")}, **overrides)


def test_folders_are_classes_and_come_in_turn(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"cat": 3, "ant": 2, "dog": 4})
    (tmp_path / "images" / "dog" / "more").mkdir()
    write_picture(tmp_path / "images" / "dog" / "more" / "x.PNG")
    (tmp_path / "images" / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "images" / ".hidden").mkdir()
    config = in_folders(tmp_path)
    table = read_table(config)
    assert table.classes == ("ant", "cat", "dog")
    assert [path.parent.name for path in table.images[:5]] == ["ant", "cat", "dog", "ant", "cat"]
    assert [table.classes[label] for (label,) in table.labels[:3]] == ["ant", "cat", "dog"]
    assert len(table.images) == 10
    summary = check_data(config)
    assert (summary.train_split_images, summary.val_images, summary.train_rows) == (8, 2, 8)
    assert summary.words == f"10 images of 3 classes from {tmp_path / 'images'}"


def test_a_class_may_be_a_link_and_a_link_to_a_folder_above_is_none(tmp_path: Path) -> None:
    """As data sets are put together from others without a copy."""
    write_folders(tmp_path / "elsewhere", {"ant": 2, "dog": 3})
    (tmp_path / "images").mkdir()
    for name in ("ant", "dog"):
        (tmp_path / "images" / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "dog" / "up").symlink_to(tmp_path / "images")
    (tmp_path / "elsewhere" / "dog" / "gone.png").symlink_to(tmp_path / "gone.png")
    write_picture(tmp_path / "elsewhere" / "dog" / ".hidden" / "x.png")
    write_picture(tmp_path / "elsewhere" / "dog" / "._x.png")
    assert [path.parent.name for path in read_table(in_folders(tmp_path)).images] == ["ant", "dog", "ant", "dog", "dog"]


@pytest.mark.parametrize("folders", [
    ("train", "val", "other"), ("train", "val", "validation"), ("training", "train", "val"), ("test", "val"),
])  # fmt: skip
def test_folders_of_a_split_are_no_classes(folders: tuple[str, ...], tmp_path: Path) -> None:
    for name in folders:
        write_folders(tmp_path / "images" / name, {"a": 2, "b": 2})
    shown = ", ".join(sorted(folders))
    with pytest.raises(
        DataError, match=rf"images: {len(folders)} folders: {shown}; which hold the images to train and"
    ):
        check_data(in_folders(tmp_path))
    named = {"data.images_dir": str(tmp_path / "images" / folders[0])}
    assert read_table(config_of(tmp_path, named)).classes == ("a", "b")


def test_one_class_may_be_called_train(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"bus": 3, "train": 3})
    assert read_table(in_folders(tmp_path)).classes == ("bus", "train")


@pytest.mark.parametrize("kind", ["folders", "table"])
def test_only_what_is_trained_on_tells_one_state_of_the_data_from_another(kind: str, tmp_path: Path) -> None:
    """A study writes beside the table, where its folder is the current one; that must not change its own data."""
    images = tmp_path / "images"
    write_folders(images, {"a": 4, "b": 4})
    config, others = in_folders(tmp_path), [".DS_Store", "notes.txt", "a/._0.png"]
    if kind == "table":
        names = sorted(path.relative_to(tmp_path).as_posix() for path in images.rglob("*.png"))
        table = "image,label\n" + "".join(f"{name},{name.split('/')[1]}\n" for name in names)
        (tmp_path / "labels.csv").write_text(table)
        config = config_of(tmp_path, {"data.labels_file": str(tmp_path / "labels.csv")})
        others += ["c/0.png", "../outputs/study.db", "../outputs/samples/0.png"]
    first = check_data(config).fingerprint
    for name in others:
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(b"")
    assert check_data(config).fingerprint == first
    write_picture(read_table(config).images[0], 77)
    assert check_data(config).fingerprint != first


def test_what_a_run_writes_is_kept_apart_from_the_classes(tmp_path: Path) -> None:
    write_folders(tmp_path, {"a": 4, "b": 4})
    with pytest.raises(
        DataError, match=r"checkpoint\.dir=.*run lies in data\.images_dir=.*, whose folders are classes"
    ):
        check_data(config_of(tmp_path, {"data.images_dir": str(tmp_path)}))


def test_labels_that_look_like_several_are_warned_of(tmp_path: Path) -> None:
    rows = [(f"{number}.png", ("red;round", "blue;round")[number % 2]) for number in range(8)]
    named = write_table(tmp_path, rows)
    (said,) = check_data(config_of(tmp_path, named)).warnings
    assert said.startswith(
        "labels such as 'blue;round' are one class each; several labels of an image, separated by ';'"
    )
    several = check_data(config_of(tmp_path, named, BCE))
    assert not [line for line in several.warnings if "one class each" in line]
    assert several.targets == "any of 3 classes: blue, red, round"
    assert check_data(config_of(tmp_path, named)).targets == "one of 2 classes: blue;round, red;round"


def test_a_name_is_an_image_however_it_is_written(tmp_path: Path) -> None:
    rows = [("a/0.png", "x"), ("./a/0.png", "y"), ("b.png", "x"), ("a//0.png", "x")]
    with pytest.raises(DataError, match=r"row 3: a/0\.png is y, but x before"):
        read_table(config_of(tmp_path, write_table(tmp_path, rows)))


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    named = write_table(tmp_path, [("0.png", "x"), ("1.png", "y")])
    images = Path(named["data.images_dir"])
    (images / "1.png").unlink()
    (images / "1.png").mkdir()
    with pytest.raises(DataError, match=r"1 missing image: 1\.png"):
        read_table(config_of(tmp_path, named))


def test_images_of_kinds_that_are_not_read_are_said(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"a": 4, "b": 4})
    (tmp_path / "images" / "a" / "phone.HEIC").write_bytes(b"")
    write_picture(tmp_path / "images" / "b" / "sign.ppm")
    summary = check_data(in_folders(tmp_path))
    assert summary.words.startswith("9 images of 2 classes")
    assert "1 file: a/phone.HEIC: of a kind that is not read; convert them" in summary.warnings


def test_a_class_without_validation_images_is_warned_of(tmp_path: Path) -> None:
    write_folders(tmp_path / "images" / "train", {"a": 4, "b": 4, "c": 4})
    write_folders(tmp_path / "images" / "val", {"a": 4, "b": 4})
    assert "no image to validate on for class c" in check_data(in_folders(tmp_path)).warnings


def test_the_weights_to_start_from_must_be_there(tmp_path: Path) -> None:
    gone = {"model.weights": str(tmp_path / "gone.pth")}
    with pytest.raises(DataError, match=r"gone\.pth: no such file of weights \(model\.weights\)"):
        check_data(config_of(tmp_path, gone))
    for taken_over in ("checkpoint.resume", "checkpoint.weights"):
        check_data(config_of(tmp_path, gone, {taken_over: str(tmp_path / "last.pth")}))


def test_numbers_are_classes_in_their_order(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"10": 2, "9": 2, "1": 2})
    assert read_table(in_folders(tmp_path)).classes == ("1", "9", "10")


@pytest.mark.parametrize(
    ("train", "held"), [("train", "val"), ("train", "valid"), ("train", "validation"), ("Train", "VAL")]
)
def test_train_and_val_inside_are_the_split(train: str, held: str, tmp_path: Path) -> None:
    for name, count in ((train, 4), (held, 2), ("Test", 1)):
        write_folders(tmp_path / "images" / name, {"a": count, "b": count})
    config = in_folders(tmp_path)
    summary = check_data(config)
    assert (summary.train_images, summary.val_images) == (8, 4)
    assert f"{held}" in summary.words
    named = {
        "data.images_dir": str(tmp_path / "images" / train),
        "data.val_images_dir": str(tmp_path / "images" / held),
    }
    assert read_table(config_of(tmp_path, named)) == read_table(config)


def test_train_with_test_alone_keeps_the_test_images_out(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_folders(tmp_path / "images" / name, {"a": 5, "b": 5})
    assert (check_data(in_folders(tmp_path)).train_images, check_data(in_folders(tmp_path)).val_images) == (8, 2)


def test_a_table_names_images_and_labels(tmp_path: Path) -> None:
    named = write_table(tmp_path, [(f"{n}.png", "ab"[n % 2]) for n in range(8)])
    table = read_table(config_of(tmp_path, named))
    assert [path.name for path in table.images[:3]] == ["0.png", "1.png", "2.png"]
    assert table.labels[:3] == ((0,), (1,), (0,))
    assert not table.several
    beside = {"data.labels_file": str(tmp_path / "images" / "labels.csv")}
    (tmp_path / "labels.csv").rename(tmp_path / "images" / "labels.csv")
    assert read_table(config_of(tmp_path, beside)).images == table.images


def test_two_tables_are_the_split(tmp_path: Path) -> None:
    named = write_table(tmp_path, [(f"{n}.png", "ab"[n % 2]) for n in range(6)])
    write_table(tmp_path, [("5.png", "b"), ("x.png", "a")], "val.csv")
    config = config_of(tmp_path, named, {"data.val_labels_file": str(tmp_path / "val.csv")})
    summary = check_data(config)
    assert (summary.train_images, summary.val_images) == (6, 2)
    assert any("1 images are trained and validated on" in line for line in summary.warnings)


def test_several_labels_take_a_separator_or_several_rows(tmp_path: Path) -> None:
    rows = [("0.png", "cat; dog"), ("1.png", "dog"), ("2.png", ""), ("3.png", "cat"), ("3.png", "dog")]
    named = write_table(tmp_path, rows)
    table = read_table(config_of(tmp_path, named, BCE))
    assert table.classes == ("cat", "dog")
    assert table.labels == ((0, 1), (1,), (), (0, 1))
    assert table.several
    other = write_table(tmp_path / "bar", [("0.png", "a|b"), ("1.png", "b")])
    assert read_table(config_of(tmp_path, other, BCE, data__label_separator="|")).classes == ("a", "b")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("0.png", "a"), ("1.png", "")], "1 unusable row: row 3: no label of 1.png"),
        ([("0.png", "a"), ("", "b")], "row 3: no image name"),
        (
            [("0.png", "a"), ("0.png", "b")],
            "0.png is b, but a before; several labels need criterion.type=bce_with_logits",
        ),
        ([("0.png", "a", "more"), ("1.png", "b")], "row 2: 3 cells instead of 2"),
        ([("0.png", '"a'), ("1.png", "b"), ("2.png", 'a"')], "row 2: a cell in quotes goes on over 3 lines; close the"),
        ([("0.png", '"a" b'), ("1.png", "b")], "row 2: its quotes are wrong"),
    ],
)
def test_a_bad_row_is_named_or_left_out(rows: list[tuple[str, ...]], words: str, tmp_path: Path) -> None:
    good = [(f"g{n}.png", "ab"[n % 2]) for n in range(6)]
    named = write_table(tmp_path, [row[:2] for row in [*rows, *good]])
    text = "\n".join(",".join(row) for row in [("image", "label"), *rows, *good])
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        check_data(config_of(tmp_path, named))
    summary = check_data(config_of(tmp_path, named, data__bad_samples="skip"))
    assert summary.skipped == 1
    assert "1 unusable image, row or folder left out" in summary.warnings[0]


def test_missing_and_unreadable_images_are_named_or_left_out(tmp_path: Path) -> None:
    named = write_table(tmp_path, [(f"{n}.png", "ab"[n % 2]) for n in range(8)])
    (tmp_path / "images" / "3.png").unlink()
    with pytest.raises(DataError, match=r"1 missing image: 3\.png of .*labels\.csv; data\.bad_samples=skip"):
        check_data(config_of(tmp_path, named))
    (tmp_path / "images" / "4.png").write_bytes(b"nonsense")
    summary = check_data(config_of(tmp_path, named, data__bad_samples="skip"))
    assert (summary.skipped, summary.train_split_images + summary.val_images) == (2, 6)


def test_folders_without_images_and_images_without_folders(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"a": 4, "b": 4, "empty": 0})
    write_picture(tmp_path / "images" / "stray.png")
    with pytest.raises(
        DataError, match=r"1 class folder: empty without an image; 1 image: stray\.png in no class folder"
    ):
        check_data(in_folders(tmp_path))
    assert check_data(in_folders(tmp_path, data__bad_samples="skip")).skipped == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _folder: None, r"no such folder of images \(data\.images_dir\)"),
        (lambda folder: write_picture(folder / "x.png"), "no folder in it; data.images_dir needs one folder per class"),
        (lambda folder: write_folders(folder, {"only": 4}), "1 class .only.: nothing to tell apart"),
    ],
)
def test_what_is_no_data_is_said(make: Any, words: str, tmp_path: Path) -> None:
    make(tmp_path / "images")
    with pytest.raises(DataError, match=words):
        check_data(in_folders(tmp_path))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file of labels \(data\.labels_file\)"):
        check_data(config_of(tmp_path, {"data.labels_file": str(tmp_path / "no.csv")}))


def test_the_number_of_classes_is_inferred_and_checked(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"a": 4, "b": 4, "c": 4})
    for asked in (None, 3):
        assert "3 classes" in check_data(in_folders(tmp_path, model__n_classes=asked)).words
    for asked in (2, 4):
        with pytest.raises(DataError, match=rf"model\.n_classes={asked}, but the data have 3 classes \(a, b, c\)"):
            check_data(in_folders(tmp_path, model__n_classes=asked))
    with pytest.raises(DataError, match="have 5 classes"):
        check_data(config_of(tmp_path, model__n_classes=4))


def test_uneven_classes_are_warned_of(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"many": 12, "few": 2, "some": 5})
    (line,) = [line for line in check_data(in_folders(tmp_path)).warnings if "uneven" in line]
    assert line == "uneven classes: many has 12 images, few has 2 (6×); f1_macro weighs all classes alike"
    write_folders(tmp_path / "even" / "images", {"one": 6, "two": 5})
    assert check_data(in_folders(tmp_path / "even")).warnings == ()


def test_a_class_without_training_images_is_warned_of(tmp_path: Path) -> None:
    write_folders(tmp_path / "images" / "train", {"a": 4, "b": 4})
    write_folders(tmp_path / "images" / "val", {"a": 2, "b": 2, "c": 2})
    assert "no image to train on for class c" in check_data(in_folders(tmp_path)).warnings


def test_a_change_of_images_or_labels_changes_the_fingerprint(tmp_path: Path) -> None:
    named = write_table(tmp_path, [(f"{n}.png", "ab"[n % 2]) for n in range(6)])
    config = config_of(tmp_path, named)
    prints = [check_data(config).fingerprint]
    write_picture(tmp_path / "images" / "0.png", 99)
    prints.append(check_data(config).fingerprint)
    (tmp_path / "labels.csv").write_text((tmp_path / "labels.csv").read_text().replace("0.png,a", "0.png,b"))
    prints.append(check_data(config).fingerprint)
    assert len(set(prints)) == 3


def test_backgrounds_are_checked_and_counted_in(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", {"a": 4, "b": 4})
    behind = tmp_path / "behind"
    used = {"data__insert_background_p": 0.5, "data__backgrounds_dir": str(behind)}
    with pytest.raises(DataError, match=r"no such folder of pictures \(data\.backgrounds_dir\)"):
        check_data(in_folders(tmp_path, **used))
    behind.mkdir()
    with pytest.raises(DataError, match="no image in it"):
        check_data(in_folders(tmp_path, **used))
    write_picture(behind / "one.png")
    first = check_data(in_folders(tmp_path, **used)).fingerprint
    assert first != check_data(in_folders(tmp_path)).fingerprint
    write_picture(behind / "two.png")
    assert check_data(in_folders(tmp_path, **used)).fingerprint != first
    unused = check_data(in_folders(tmp_path, data__backgrounds_dir=str(behind)))
    assert unused.warnings == ("data.backgrounds_dir has no effect: data.insert_background_p is 0",)
    (behind / "two.png").write_bytes(b"nonsense")
    config = in_folders(tmp_path, **used)
    with pytest.raises(DataError, match=r"two\.png: not a readable image"):
        open_source_images(config, read_table(config).images, range(8), 32)
    skipping = in_folders(tmp_path, **used, data__bad_samples="skip")
    prepare_data(skipping, lambda _done, _of: None)


def test_the_built_in_scenes_are_counted_before_they_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGWISE_CACHE", str(tmp_path / "cache"))
    config = config_of(tmp_path, data__scenes__images=23)
    summary = check_data(config)
    assert (summary.train_split_images, summary.val_images) == (16, 4)
    assert "(20 images of 32 px)" in summary.words
    assert not (tmp_path / "cache").exists()
    prepare_data(config, lambda _done, _of: None)
    table = read_table(config)
    assert len(table.images) == 20
    assert table.classes == ("circle", "cross", "square", "star", "triangle")
    chosen = select(config, 20)
    assert np.intersect1d(chosen.train, chosen.val).size == 0


def test_a_configuration_without_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name images_dir or labels_file"):
        config_of(tmp_path, {"data.scenes": None})


def test_one_file_under_two_names_is_on_one_side(tmp_path: Path) -> None:
    named = write_table(tmp_path, [(f"{n}.png", "ab"[n % 2]) for n in range(6)])
    folder = Path(named["data__images_dir"] if "data__images_dir" in named else named["data.images_dir"])
    rows = [f"{n}.png,{'ab'[n % 2]},train\n{folder / f'{n}.png'},{'ab'[n % 2]},val\n" for n in range(6)]
    (tmp_path / "labels.csv").write_text("image,label,split\n" + "".join(rows))
    with pytest.raises(DataError, match=r"0\.png is in val, but in train before"):
        check_data(tiny_classification(tmp_path / "run", **{k.replace(".", "__"): v for k, v in named.items()}))
