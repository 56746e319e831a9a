"""The files that a set of scenes consists of, and how they get there."""

import csv
import json
import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from trainer.data.scenes.files import ensure_scenes
from trainer.data.scenes.spec import KINDS, SceneFiles, ScenesSpec, files_in
from trainer.errors import DataError

SPEC = ScenesSpec(images=12, size_px=48)
TOTAL = 12 + 5 * 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SceneFiles:
    return ensure_scenes(SPEC, tmp_path_factory.mktemp("cache"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def folders(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def make(cache: Path) -> dict[str, bytes]:
    return contents(ensure_scenes(SPEC, cache).folder)


def pictures_drawn(cache: Path) -> int:
    drawn: list[int] = []
    ensure_scenes(SPEC, cache, lambda done, _of: drawn.append(done))
    return len(drawn)


def rows_of(files: SceneFiles) -> list[list[str]]:
    with files.caption_file.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_same_spec_same_bytes(made: SceneFiles, tmp_path: Path) -> None:
    assert make(tmp_path) == contents(made.folder)


def test_more_images_keep_the_ones_before(made: SceneFiles, tmp_path: Path) -> None:
    more = ensure_scenes(ScenesSpec(images=17, size_px=48), tmp_path)
    before, after = contents(made.folder), contents(more.folder)
    pictures = [name for name in before if name.endswith(".jpg")]
    assert len(pictures) == TOTAL
    assert all(before[name] == after[name] for name in pictures)
    assert rows_of(more)[: 1 + 12 * 5] == rows_of(made)
    for path in ("annotations.json", "instances_train.json", "instances_val.json"):
        short, long = json.loads(before[path]), json.loads(after[path])
        assert long["images"][: len(short["images"])] == short["images"]
        known = {image["id"] for image in short["images"]}
        kept = [{**box, "id": 0} for box in long["annotations"] if box["image_id"] in known]
        assert kept == [{**box, "id": 0} for box in short["annotations"]]


def test_captions_file(made: SceneFiles) -> None:
    header, *rows = rows_of(made)
    assert header == ["image", "caption"]
    assert len(rows) == SPEC.caption_rows == 60
    assert Counter(name for name, _ in rows) == {f"{index:06d}.jpg": 5 for index in range(12)}
    assert len({(name, caption) for name, caption in rows}) == 60
    assert all((made.images_dir / name).is_file() for name, _ in rows)
    assert b"\r" not in made.caption_file.read_bytes()


def test_annotations_are_valid_coco(made: SceneFiles) -> None:
    whole, train, val = (
        json.loads(path.read_text()) for path in (made.annotations, made.train_annotations, made.val_annotations)
    )
    assert [category["name"] for category in whole["categories"]] == list(KINDS)
    for part in (whole, train, val):
        ids = {image["id"] for image in part["images"]}
        categories = {category["id"] for category in part["categories"]}
        assert {box["image_id"] for box in part["annotations"]} == ids  # every scene shows something
        assert {box["category_id"] for box in part["annotations"]} <= categories
        assert len({box["id"] for box in part["annotations"]}) == len(part["annotations"])
    for image in whole["images"]:
        with Image.open(made.images_dir / image["file_name"]) as picture:
            assert (picture.size, picture.mode) == ((image["width"], image["height"]), "RGB")
    for box in whole["annotations"]:
        x, y, width, height = box["bbox"]
        assert 0 <= x < x + width <= 48
        assert 0 <= y < y + height <= 48
        assert 0 < box["area"] <= width * height
        assert box["iscrowd"] == 0
    assert len(val["images"]) == 3
    by_id = sorted(train["images"] + val["images"], key=lambda image: image["id"])
    assert by_id == whole["images"]
    assert len(train["annotations"]) + len(val["annotations"]) == len(whole["annotations"])


def test_boxes_agree_with_captions(made: SceneFiles) -> None:
    coco = json.loads(made.annotations.read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    boxed = {image["file_name"]: Counter() for image in coco["images"]}
    for box in coco["annotations"]:
        boxed[coco["images"][box["image_id"] - 1]["file_name"]][names[box["category_id"]]] += 1
    for name, caption in rows_of(made)[1:]:
        assert Counter(word for word in caption.split() if word in KINDS) == boxed[name]


def test_a_folder_per_class(made: SceneFiles) -> None:
    assert sorted(path.name for path in made.classes_dir.iterdir()) == sorted(KINDS)
    for kind in KINDS:
        names = sorted(path.name for path in (made.classes_dir / kind).iterdir())
        assert names == ["000000.jpg", "000001.jpg"]
    assert ScenesSpec(images=100).images_per_class == 20
    assert ScenesSpec(images=2).images_per_class == 2


def test_paths_without_making_anything(made: SceneFiles, tmp_path: Path) -> None:
    assert files_in(made.folder.parent / SPEC.key) == made
    assert not files_in(tmp_path / "nothing").folder.exists()
    assert not list(tmp_path.iterdir())
    assert len({ScenesSpec(**{name: 33}).key for name in ScenesSpec.__dataclass_fields__ if "cap" not in name}) == 4


def test_progress_counts_every_picture_and_none_when_there(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    ensure_scenes(SPEC, tmp_path, lambda done, of: seen.append((done, of)))
    assert seen == [(done, TOTAL) for done in range(1, TOTAL + 1)]
    seen.clear()
    ensure_scenes(SPEC, tmp_path, lambda done, of: seen.append((done, of)))
    assert seen == []


def test_several_processes_at_once(made: SceneFiles, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        drawn = pool.map(pictures_drawn, [tmp_path / "cache"] * 4, chunksize=1)
    assert sorted(drawn) == [0, 0, 0, TOTAL]  # one did the work
    assert folders(tmp_path / "cache") == [SPEC.key]
    assert make(tmp_path / "cache") == contents(made.folder)


def cut_picture(files: SceneFiles) -> None:
    path = files.images_dir / "000003.jpg"
    path.write_bytes(path.read_bytes()[:100])


def edit_captions(files: SceneFiles) -> None:
    text = files.caption_file.read_text()
    files.caption_file.write_text(text.replace("circle", "square", 1))


def older_generator(files: SceneFiles) -> None:
    path = files.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"generator": 0}))


@pytest.mark.parametrize(
    "damage",
    [
        cut_picture,
        edit_captions,
        older_generator,
        lambda files: (files.images_dir / "000003.jpg").unlink(),
        lambda files: (files.classes_dir / "star" / "000001.jpg").unlink(),
        lambda files: (files.images_dir / "extra.jpg").touch(),
        lambda files: files.val_annotations.unlink(),
        lambda files: (files.folder / "manifest.json").unlink(),
        lambda files: (files.folder / "manifest.json").write_text("[1]"),
        lambda files: (files.folder / "manifest.json").write_bytes(b"\xff{"),
    ],
)
def test_damage_is_noticed_and_mended(damage, made: SceneFiles, tmp_path: Path) -> None:
    files = ensure_scenes(SPEC, tmp_path)
    damage(files)
    assert contents(files.folder) != contents(made.folder)
    assert make(tmp_path) == contents(made.folder)
    assert folders(tmp_path) == [SPEC.key]


def test_a_file_in_place_of_the_folder_gives_way(made: SceneFiles, tmp_path: Path) -> None:
    (tmp_path / SPEC.key).write_text("not a folder")
    assert make(tmp_path) == contents(made.folder)
    assert not list(tmp_path.glob("*.tmp"))


def test_interrupted_build_leaves_nothing(made: SceneFiles, tmp_path: Path) -> None:
    def interrupt(done: int, of: int) -> None:
        if done == of - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_scenes(SPEC, tmp_path, interrupt)
    assert folders(tmp_path) == []
    assert make(tmp_path) == contents(made.folder)


KILLED = """
import os, signal, sys
from pathlib import Path
from trainer.data.scenes.files import ensure_scenes
from trainer.data.scenes.spec import ScenesSpec
die = lambda done, of: os.kill(os.getpid(), signal.SIGKILL) if done == 15 else None
ensure_scenes(ScenesSpec(images=12, size_px=48), Path(sys.argv[1]), die)
"""


def test_killed_build_is_cleared_away(made: SceneFiles, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=root, check=False, timeout=60)
    assert done.returncode == -9
    assert len(folders(tmp_path)) == 1
    assert SPEC.key not in folders(tmp_path)
    assert make(tmp_path) == contents(made.folder)
    assert folders(tmp_path) == [SPEC.key]


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="RUNGWISE_CACHE") as caught:
        ensure_scenes(SPEC, tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write anywhere")
def test_a_read_only_cache_serves_what_it_has(tmp_path: Path) -> None:
    ensure_scenes(SPEC, tmp_path)
    tmp_path.chmod(0o500)
    try:
        ensure_scenes(SPEC, tmp_path)
        with pytest.raises(DataError, match="RUNGWISE_CACHE"):
            ensure_scenes(ScenesSpec(images=3, size_px=32), tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_importing_scenes_imports_no_torch() -> None:
    command = "import sys, trainer.data.scenes.files; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", command], cwd=root, check=False).returncode == 0
