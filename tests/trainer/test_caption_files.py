"""Files of captions in all their forms, with what is wrong in them, and folders that hold several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from diffusion_parts import tiny_diffusion
from trainer_parts import TINY, write_data

from trainer.api import DataError, check_data, resolve_config
from trainer.tasks.captioning.files import read_table, split_of
from trainer.tasks.diffusion.files import read_table as read_diffusion

ROWS = [(f"{n // 2}.png", f'a "{n}", said once; or | twice') for n in range(20)]
NAMES = [f"{n}.png" for n in range(10)]
SIDES = ["train", "restval", "val", "test", "TRAIN", "val", "train", "train", "train", "test"]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def lines(delimiter: str, header: str = "") -> str:
    """The rows as a table, quoted where its delimiter asks for it."""
    cell = quoted if delimiter in ",;" else str
    return "\r\n".join([*([header] if header else []), *(f"{name}{delimiter}{cell(text)}" for name, text in ROWS), ""])


def objects(image: str, caption: str) -> list[dict[str, Any]]:
    return [{image: name, caption: [text for other, text in ROWS if other == name]} for name in NAMES]


COCO = {
    "images": [{"id": n, "file_name": name} for n, name in enumerate(NAMES)],
    "annotations": [{"image_id": int(name[0]), "caption": text} for name, text in ROWS],
}
KARPATHY = {
    "dataset": "coco",
    "images": [
        {"filepath": "val2014", "filename": name, "split": side,
         "sentences": [{"raw": text, "tokens": []} for other, text in ROWS if other == name]}
        for name, side in zip(NAMES, SIDES, strict=True)
    ],
}  # fmt: skip
PLAIN = {name: [text for other, text in ROWS if other == name] for name in NAMES}
FORMS: dict[str, tuple[str, str]] = {
    "CSV (image, caption)": ("captions.csv", lines(",", "image,caption")),
    "CSV (file_name, text)": ("metadata.csv", lines(",", "File_Name,TEXT")),
    "CSV (filename, title)": ("a.csv", "id,title,Filename\n" + "".join(f"7,{quoted(t)},./{n}\n" for n, t in ROWS)),
    "CSV without a header": ("captions.txt", lines(",")),
    "semicolon-separated (image_path, description)": ("a.csv", lines(";", "image_path;description")),
    "semicolon-separated (image, caption)": ("b.csv", f"sep=;\r\n{lines(';', 'Image;Caption')}"),
    "tab-separated (filepath, caption)": ("a.tsv", lines("\t", "filepath\tcaption")),
    "tab-separated without a header": ("a.tsv", lines("\t")),
    "Flickr8k's tokens": ("Flickr8k.token.txt", "".join(f"{n}#{k % 2}\t{t}\n" for k, (n, t) in enumerate(ROWS))),
    "bar-separated (image_name, comment)": (
        "results.csv",
        "image_name| comment_number| comment\n" + "".join(f"{n}| {k % 2}| {t}\n" for k, (n, t) in enumerate(ROWS)),
    ),
    "bar-separated without a header": ("a.csv", "".join(f"{n}|{k % 2}|{t}\n" for k, (n, t) in enumerate(ROWS))),
    "COCO captions": ("captions_train2017.json", json.dumps(COCO)),
    "JSON lines (file_name, text)": (
        "metadata.jsonl", "\n".join(json.dumps({"file_name": n, "text": t}) for n, t in ROWS)
    ),
    "JSON entries (image, caption)": ("a.json", json.dumps(objects("image", "caption"), indent=1)),
    "JSON entries (Image, Captions)": ("a.json", json.dumps({"version": 1, "data": objects("Image", "Captions")})),
    "a JSON mapping of images to captions": ("a.json", json.dumps(PLAIN)),
}  # fmt: skip


def captioning(folder: Path, name: str, text: str, encoding: str = "utf-8", **overrides: Any) -> Any:
    """A configuration over ten images and a file of captions."""
    data = write_data(folder, ROWS)
    (folder / "captions.csv").unlink()
    (folder / name).write_bytes(text.encode(encoding))
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    named = {"data.caption_file": str(folder / name), "checkpoint.dir": str(folder / "run")}
    return resolve_config(TINY, data, named, dotted)


def diffusion(folder: Path, name: str, text: str) -> Any:
    """The same as a folder whose one file of captions must be found in it."""
    captioning(folder, name, text)
    return tiny_diffusion(folder, {"data.dataset_name": "custom", "data.dataset_path": str(folder)})


@pytest.mark.parametrize("form", sorted(FORMS))
def test_each_form_is_recognised_in_both_tasks(form: str, tmp_path: Path) -> None:
    name, text = FORMS[form]
    config = captioning(tmp_path / "captioning", name, text)
    other = diffusion(tmp_path / "diffusion", name, text)
    for table in (read_table(config), read_diffusion(other)):
        assert {path.name: list(texts) for path, texts in zip(table.images, table.captions, strict=True)} == PLAIN
        assert (table.form, table.held_out, table.skipped) == (form, 0, 0)
    for summary in (check_data(config), check_data(other)):
        assert "10 images, 20 captions from" in summary.words
        assert f"{name} as {form}; a vocabulary of" in summary.words
    assert sorted(path.name for path in (tmp_path / "diffusion").iterdir()) == sorted(["images", name])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("form", ["CSV (image, caption)", "tab-separated (filepath, caption)", "COCO captions"])
def test_text_as_windows_saves_it(form: str, encoding: str, tmp_path: Path) -> None:
    name, text = FORMS[form]
    assert read_table(captioning(tmp_path / "data", name, text, encoding)).form == form


SPLIT_CSV = "image,caption,split\n" + "".join(f"{n},{quoted(t)},{SIDES[int(n[0])]}\n" for n, t in ROWS)
SPLIT_LINES = "\n".join(json.dumps({"image": n, "caption": t, "split": SIDES[int(n[0])]}) for n, t in ROWS)


@pytest.mark.parametrize("text", [json.dumps(KARPATHY), SPLIT_CSV, SPLIT_LINES], ids=["karpathy", "csv", "lines"])
def test_a_files_own_splits_are_used(text: str, tmp_path: Path) -> None:
    config = captioning(tmp_path / "captioning", "dataset_coco.json", text)
    other = diffusion(tmp_path / "diffusion", "dataset_coco.json", text)
    for table in (read_table(config), read_diffusion(other)):
        assert [path.name for path in table.images] == [f"{n}.png" for n in (0, 1, 4, 6, 7, 8, 2, 5)]
        assert table.held_out == 2
    table = read_table(config)
    chosen = split_of(config, table)
    assert {table.images[n].name for n in chosen.val.tolist()} == {"2.png", "5.png"}
    for summary in (check_data(config), check_data(other)):
        assert (summary.train_split_images, summary.val_images) == (6, 2)
        assert "its own split of 6 and 2, 2 test images left out" in summary.words


def test_karpathys_folders_are_used_where_they_are(tmp_path: Path) -> None:
    config = captioning(tmp_path / "data", "dataset.json", json.dumps(KARPATHY))
    flat = check_data(config).fingerprint
    (tmp_path / "data" / "images" / "val2014").mkdir()
    for name in NAMES:
        (tmp_path / "data" / "images" / name).rename(tmp_path / "data" / "images" / "val2014" / name)
    moved = tmp_path / "moved"
    (tmp_path / "data").rename(moved)
    there = {"data.images_dir": str(moved / "images"), "data.caption_file": str(moved / "dataset.json")}
    config = resolve_config(TINY, there, {"checkpoint.dir": str(tmp_path / "run")})
    assert read_table(config).images[0] == moved / "images" / "val2014" / "0.png"
    assert check_data(config).fingerprint != flat


def test_without_validation_images_of_its_own_some_are_drawn(tmp_path: Path) -> None:
    text = SPLIT_CSV.replace(",val\n", ",train\n")
    summary = check_data(captioning(tmp_path / "data", "a.csv", text))
    assert (summary.train_split_images, summary.val_images) == (6, 2)
    assert "data.val_split draws them, 2 test images left out" in summary.words


def changed(form: str, before: str, after: str) -> tuple[str, str]:
    name, text = FORMS[form]
    assert before in text
    return name, text.replace(before, after, 1)


ENTRIES = "JSON entries (image, caption)"
BAD: dict[str, tuple[tuple[str, str], str]] = {
    "unknown columns": (("a.csv", "id,words\n1,a\n"), "a.csv: the header must be image,caption; found id,words"),
    "a name of no image": (("a.csv", "gone.png\ta\n"), "the header must be image,caption; found gone.png"),
    "nothing": (("a.csv", "\n\n"), "found nothing"),
    "other json": (("a.json", '{"a": 1}'), "a.json: expected COCO captions"),
    "numbers": (("a.json", "[1, 2]"), "a.json: expected COCO captions"),
    "a broken line": (("a.jsonl", '{"image": "0.png", "caption": "a"}\n{"image": \n'), "a.jsonl, line 2: not JSON"),
    "broken": (("a.json", '[{"image": "0.png",\n "caption"}]'), "a.json, line 2"),
    "an empty line": (changed("JSON lines (file_name, text)", ROWS[1][1].replace('"', '\\"'), " "),
                      "metadata.jsonl: 1 unusable entry: line 2: empty caption of 0.png"),
    "no caption": (("a.json", json.dumps([*objects("image", "caption"), {"image": "3.png"}])),
                   "1 unusable entry: entry at position 10: empty caption of 3.png"),
    "a number": (("a.json", json.dumps([*objects("image", "caption"), {"image": 3, "caption": "x"}, 5])),
                 "2 unusable entries: entry at position 10: no image name, entry at position 11: no image name"),
    "half a character": (("a.json", '[{"image": "3.png", "caption": "\\ud83d"}]'),
                         "entry at position 0: half a character in the name or a caption of '3.png'"),
    "a long name": (("a.csv", lines(",", "image,caption") + "x" * 300 + ",y\n"),
                    "row 22: an image name of 300 characters"),
    "no bar": (changed("bar-separated (image_name, comment)", "2.png| 0|", "2.png| 4   A dog\n2.png| 0|"),
               "results.csv: 1 unusable row: row 6: 2 cells instead of 3"),
    "no tab": (changed("Flickr8k's tokens", "1.png#0\t", "1.png#0 "), "row 3: no tab between image and caption"),
    "no such split": (("a.csv", SPLIT_CSV.replace(",restval", ",fold1")),
                      "row 4: the split of 1.png is 'fold1', none of "),
    "both splits": (("a.csv", SPLIT_CSV + "0.png,x,val\n"), "row 22: 0.png is in val, but in train before"),
    "no training": (("a.csv", "image,caption,split\n0.png,a,val\n"), "no usable image to train on in it"),
    "latin-1": (("a.jsonl", '{"image": "0.png", "caption": "a"}\n{"image": "1.png", "caption": "caf\udce9"}'),
                "row 2: not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(BAD))
def test_damage_is_named_by_file_and_line(case: str, tmp_path: Path) -> None:
    (name, text), words = BAD[case]
    config = captioning(tmp_path / "data", "empty", "")
    Path(config.data.caption_file).with_name(name).write_bytes(text.encode("utf-8", "surrogateescape"))
    config = resolve_config(config.plain(), {"data.caption_file": str(tmp_path / "data" / name)})
    with pytest.raises(DataError) as caught:
        check_data(config)
    assert words in str(caught.value)
    assert str(tmp_path / "data" / name) in str(caught.value)


def folder_of(tmp_path: Path, **files: str) -> Any:
    write_data(tmp_path / "data", ROWS)
    (tmp_path / "data" / "captions.csv").unlink()
    for name, form in files.items():
        text = FORMS[form][1] if form in FORMS else form
        (tmp_path / "data" / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return tiny_diffusion(tmp_path, {"data.dataset_name": "custom", "data.dataset_path": str(tmp_path / "data")})


def test_of_two_files_one_is_taken_for_a_reason_or_none(tmp_path: Path) -> None:
    csv, coco = "CSV (image, caption)", "COCO captions"
    boxes = json.dumps({**COCO, "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]})
    config = folder_of(tmp_path / "a", notes__txt="not captions", boxes__json=boxes, words__json=coco)
    assert "words.json as COCO captions" in check_data(config).words
    config = folder_of(tmp_path / "b", captions__csv=csv, captions_more__json=coco)
    said = "captions.csv (its name was chosen before captions_more.json; data.caption_file names another) as CSV"
    assert said in check_data(config).words
    config = folder_of(tmp_path / "c", captions_a__csv=csv, captions_b__json=coco)
    with pytest.raises(
        DataError, match=r"which of the captions\? 2 such files: captions_a\.csv, captions_b\.json; name"
    ):
        check_data(config)
    config = folder_of(tmp_path / "d", captions__json="[{", other__csv=csv)
    with pytest.raises(DataError, match=r"captions\.json, line 1"):
        check_data(config)
    with pytest.raises(DataError, match=r"no captions\.csv or \*\.csv in it, nor another file of captions"):
        check_data(folder_of(tmp_path / "e", notes__txt="x", more__txt="y"))


def test_images_may_lie_beside_the_captions(tmp_path: Path) -> None:
    config = folder_of(tmp_path, metadata__csv="CSV (file_name, text)")
    (tmp_path / "data" / "images").rename(tmp_path / "data" / "Images")
    assert read_diffusion(config).images[0].parent.name == "Images"
    for path in (tmp_path / "data" / "Images").iterdir():
        path.rename(tmp_path / "data" / path.name)
    (tmp_path / "data" / "Images").rmdir()
    assert read_diffusion(config).images[0] == tmp_path / "data" / "0.png"


TURNS = ["train"] * 7 + ["val"] * 3


def test_a_split_is_found_under_a_like_name_and_where_the_first_row_has_none(tmp_path: Path) -> None:
    data = write_data(tmp_path, [(name, "a dog") for name in NAMES])
    table = tmp_path / "subset.csv"
    table.write_text("image,caption,Subset\n" + "".join(f"{n},a dog,{s}\n" for n, s in zip(NAMES, TURNS, strict=True)))
    found = read_table(resolve_config(TINY, {**data, "data.caption_file": str(table)}))
    assert (len(found.images), found.held_out) == (10, 3)
    rows = [{"file_name": n, "text": "a dog", "split": s} for n, s in zip(NAMES, TURNS, strict=True)]
    del rows[0]["split"]
    late = tmp_path / "late.jsonl"
    late.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"line 1: the split of 0\.png is '', none of train, val, test"):
        check_data(resolve_config(TINY, {**data, "data.caption_file": str(late)}))


def test_a_cell_with_a_list_and_one_without_a_value(tmp_path: Path) -> None:
    data = write_data(tmp_path, [(name, "a dog") for name in NAMES])
    table = tmp_path / "pandas.csv"
    table.write_text("image,caption\n" + "".join(f"{name},\"['a dog', 'a cat [sic]']\"\n" for name in NAMES))
    found = read_table(resolve_config(TINY, {**data, "data.caption_file": str(table)}))
    assert set(found.captions) == {("a dog", "a cat [sic]")}
    table.write_text("image,caption\n0.png,nan\n1.png,none of the dogs\n2.png,NULL\n")
    with pytest.raises(
        DataError, match=r"row 2: the caption of 0\.png is 'nan', which stands for a missing one(?s:.)*row 4"
    ):
        check_data(resolve_config(TINY, {**data, "data.caption_file": str(table)}))


def test_one_file_under_two_names_is_one_image(tmp_path: Path) -> None:
    data = write_data(tmp_path, [(name, "a dog") for name in NAMES])
    table = tmp_path / "paths.csv"
    rows = [f"{name},a dog\n{tmp_path / 'images' / name},a cat\n" for name in NAMES]
    table.write_text("image,caption\n" + "".join(rows))
    found = read_table(resolve_config(TINY, {**data, "data.caption_file": str(table)}))
    assert set(found.captions) == {("a dog", "a cat")}
    assert len(found.images) == 10
    sides = [f"{name},a dog,train\n{tmp_path / 'images' / name},a cat,val\n" for name in NAMES]
    table.write_text("image,caption,split\n" + "".join(sides))
    with pytest.raises(DataError, match=r"row 3: 0\.png is in val, but in train before"):
        check_data(resolve_config(TINY, {**data, "data.caption_file": str(table)}))
