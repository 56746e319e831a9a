"""Captioning data: every fault is named by file and row, and the policy is an option."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from trainer_parts import TINY, session_of, tiny, trained, write_data

from trainer.api import DataError, check_data, prepare_data, resolve_config
from trainer.store.image_cache import DecodedImages, decode, shared_images
from trainer.tasks.captioning.files import read_table, resize_px

ROWS = [(f"{n // 2}.png", f"a picture of number {n // 2}, said {'again' if n % 2 else 'once'}") for n in range(20)]


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """Ten images with two captions each."""
    return write_data(tmp_path / "data", ROWS)


def config_of(data: dict[str, Any], **overrides: Any) -> Any:
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return resolve_config(TINY, {"checkpoint.dir": str(Path(data["data.images_dir"]).parent / "run")}, data, dotted)


def rewrite(data: dict[str, Any], change: Callable[[bytes], bytes]) -> Path:
    path = Path(data["data.caption_file"])
    path.write_bytes(change(path.read_bytes()))
    return path


def test_sound_data_are_counted(data: dict[str, Any]) -> None:
    summary = check_data(config_of(data, training__subset_size=3, data__val_subset_size=1))
    assert (summary.train_split_images, summary.train_images, summary.train_rows) == (8, 3, 6)
    assert (summary.val_images, summary.skipped, summary.warnings) == (1, 0, ())
    assert "10 images, 20 captions" in summary.words
    table = read_table(config_of(data))
    assert [path.name for path in table.images] == [f"{n}.png" for n in range(10)]
    assert table.captions[3] == (ROWS[6][1], ROWS[7][1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw.replace(b"image,caption", b"id,words", 1), "header must be image,caption; found id,words"),
        (lambda _raw: b"", "found nothing"),
        (lambda raw: raw + b"image,caption\n", "1 unusable row: row 22: the header a second time"),
        (lambda raw: raw + b"3.png,   \n", r"row 22: empty caption of 3\.png"),
        (lambda raw: raw + b",a caption\n", "row 22: no image name"),
        (lambda raw: raw + b"3.png,one, two\n", "row 22: 3 cells instead of 2 .*needs quotes"),
        (lambda raw: raw + b"3.png\n", "row 22: 1 cells instead of 2"),
        (lambda raw: raw + b"3.png,caf\xe9\n", r"captions\.csv, row 22: not UTF-8"),
        (lambda raw: raw + b'3.png,"open\n', r"captions\.csv, line 22: not a readable CSV"),
        (lambda raw: raw + b'3.png,"open\n4.png,x\n', r"captions\.csv, line 22: not a readable CSV .*up to line 23"),
        (lambda raw: raw + b'3.png,"open\n4.png,"x"\n5.png,y\n6.png,"a" b\n', r"2 unusable rows: row 22: its quotes "
         "are wrong .* up to line 23.; .*, row 25: its quotes are wrong .*written twice"),
        (lambda raw: raw + b'3.png,"open\n4.png,x\n5.png,6"\n7.png,\n', "2 unusable rows: row 22: a cell in "
         "quotes goes on over 3 lines; close the quote .*, row 25: empty caption of 7.png; data.bad_samples=skip"),
        (lambda raw: raw + b'3.png,"two\nlines"\n', "row 22: a cell in quotes goes on over 2 lines; .*in one line"),
        (lambda raw: raw.decode().encode("utf-16")[2:], r"captions\.csv, row 1: not UTF-8 text"),
        (lambda raw: raw + b"a.png,x\nb.png,y\n", r"2 missing images: a\.png, b\.png; data\.bad_samples=skip"),
        (lambda raw: raw.split(b"\n", 1)[0] + b"\n", "no usable caption"),
    ],
)  # fmt: skip
def test_a_fault_is_named(change: Callable[[bytes], bytes], words: str, data: dict[str, Any]) -> None:
    path = rewrite(data, change)
    with pytest.raises(DataError, match=words) as caught:
        check_data(config_of(data))
    assert str(path.parent) in str(caught.value)


def test_captions_longer_than_any_that_is_written_are_warned_of(data: dict[str, Any]) -> None:
    assert check_data(config_of(data, evaluation__max_length=8)).warnings == ()
    (said,) = check_data(config_of(data, evaluation__max_length=7)).warnings
    assert said == "100% of the training captions have more words than evaluation.max_length=7: raise it"


def test_faults_of_both_kinds_are_said_at_once(data: dict[str, Any]) -> None:
    rewrite(data, lambda raw: raw + b"3.png,\na.png,x\n")
    words = r"1 unusable row: row 22: empty caption of 3\.png; .*: 1 missing image: a\.png; data\.bad_samples=skip"
    with pytest.raises(DataError, match=words):
        check_data(config_of(data))


def test_of_many_faults_some_are_named_and_all_counted(data: dict[str, Any]) -> None:
    rewrite(data, lambda raw: raw + b"".join(b"%d.jpg,gone\n" % n for n in range(9)))
    with pytest.raises(DataError, match=r"9 missing images: 0\.jpg .*4\.jpg \(did you mean 4\.png\?\) and 4 more"):
        check_data(config_of(data))


def test_skipping_leaves_bad_rows_out_and_counts_them(data: dict[str, Any]) -> None:
    Path(data["data.images_dir"], "4.png").write_bytes(b"not an image")
    shutil.copy(Path(data["data.images_dir"], "5.png"), Path(data["data.images_dir"], "cut.png"))
    with Path(data["data.images_dir"], "cut.png").open("r+b") as file:
        file.truncate(500)
    rewrite(data, lambda raw: raw + b"3.png,\ngone.png,a\nimage,caption\ncut.png,half\n")
    config = config_of(data, data__bad_samples="skip")
    assert check_data(config).skipped == 5
    assert [path.name for path in read_table(config).images] == [f"{n}.png" for n in range(10) if n != 4]
    again = read_table(config_of(data, data__bad_samples="skip", seed=9))
    assert again.skipped == 5
    assert trained(config, until=1).epoch == 1


def test_unreadable_images_are_remembered_wherever_the_data_lie(data: dict[str, Any], tmp_path: Path) -> None:
    Path(data["data.images_dir"], "4.png").write_bytes(b"not an image")
    assert check_data(config_of(data, data__bad_samples="skip")).skipped == 1
    moved = tmp_path / "moved"
    shutil.copytree(Path(data["data.images_dir"]).parent, moved)  # keeps the times of change
    there = {"data.images_dir": str(moved / "images"), "data.caption_file": str(moved / "captions.csv")}
    table = read_table(config_of(there, data__bad_samples="skip"))
    assert (table.skipped, len(table.images)) == (1, 9)


def test_nothing_left_after_skipping_is_an_error(data: dict[str, Any]) -> None:
    for path in Path(data["data.images_dir"]).iterdir():
        path.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"no usable caption in it \(10 left out\)"):
        check_data(config_of(data, data__bad_samples="skip"))


@pytest.mark.parametrize(("workers", "cache_gb"), [(0, 1.0), (0, 0.0), (2, 0.0)])
def test_a_corrupt_image_stops_the_run_and_is_named(workers: int, cache_gb: float, data: dict[str, Any]) -> None:
    broken = Path(data["data.images_dir"], "4.png")
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(DataError, match=r"4\.png: not a readable image .*data\.bad_samples=skip"):
        trained(config_of(data, data__num_workers=workers, data__cache_gb=cache_gb))


@pytest.mark.parametrize("cache_gb", [0.0, 1.0])
def test_skipping_after_an_error_pairs_images_with_their_own_captions(cache_gb: float, data: dict[str, Any]) -> None:
    """The first run leaves decoded images in memory; the second has one image fewer."""
    Path(data["data.images_dir"], "0.png").write_bytes(b"not an image")
    with session_of(config_of(data, data__cache_gb=0.0)) as session, pytest.raises(DataError):
        session.run.loaders.train.dataset.seen.images[0]  # type: ignore[attr-defined]
    with session_of(config_of(data, data__cache_gb=cache_gb, data__bad_samples="skip")) as session:
        source = session.run.loaders.val.dataset  # type: ignore[attr-defined]
        for image, _, captions in source.rows:
            assert f"number {source.seen.images.paths[image].stem}," in captions[0]


@pytest.mark.parametrize("missing", ["data.images_dir", "data.caption_file"])
def test_files_that_are_not_there_are_named_with_their_key(missing: str, data: dict[str, Any], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(DataError, match=rf"{gone}: no such .*\({missing}\)"):
        check_data(config_of({**data, missing: str(gone)}))


def test_a_byte_order_mark_blank_lines_and_folders_are_fine(data: dict[str, Any]) -> None:
    deep = Path(data["data.images_dir"], "deep")
    deep.mkdir()
    shutil.copy(Path(data["data.images_dir"], "0.png"), deep / "x.png")
    rewrite(data, lambda raw: b"\xef\xbb\xbf" + raw.replace(b"\r\n", b"\n") + b'\n\ndeep/x.png,"one,  two"\n\n')
    table = read_table(config_of(data))
    assert table.images[-1] == deep / "x.png"
    assert table.captions[-1] == ("one, two",)


def test_a_change_of_any_file_changes_the_fingerprint(data: dict[str, Any]) -> None:
    deep = Path(data["data.images_dir"], "deep")
    deep.mkdir()
    Image.new("RGB", (8, 8)).save(deep / "x.png")
    rewrite(data, lambda raw: raw + b"deep/x.png,dark\n")
    prints = [check_data(config_of(data)).fingerprint]
    assert check_data(config_of(data, seed=8)).fingerprint == prints[0]
    for change in (
        lambda: rewrite(data, lambda raw: raw.replace(b"once", b"ones", 1)),
        lambda: Image.new("RGB", (9, 9)).save(Path(data["data.images_dir"], "3.png")),
        lambda: Image.new("RGB", (9, 9)).save(deep / "x.png"),
    ):
        change()
        prints.append(check_data(config_of(data)).fingerprint)
    assert len(set(prints)) == 4


def test_the_built_in_scenes_are_counted_before_they_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGWISE_CACHE", str(tmp_path / "cache"))
    config = tiny(tmp_path / "run", data__scenes__images=12, data__scenes__captions_per_image=3)
    summary = check_data(config)
    assert (summary.train_split_images, summary.val_images, summary.train_rows) == (10, 2, 30)
    assert "built-in shapes scenes" in summary.words
    assert not (tmp_path / "cache").exists()
    done: list[tuple[int, int]] = []
    prepare_data(config, lambda some, of: done.append((some, of)))
    of = done[0][1]
    assert done == [*((n, of) for n in range(1, of + 1)), (12, 12)], "drawn one by one, then decoded"
    assert len(read_table(config).images) == 12
    prepare_data(config, lambda some, of: done.append((some, of)))
    assert len(done) == of + 1, "once is enough"


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RUNGWISE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="RUNGWISE_CACHE"):
        prepare_data(tiny(tmp_path / "run"), lambda _done, _of: None)


def test_what_will_surprise_is_said_beforehand(tmp_path: Path) -> None:
    config = tiny(
        tmp_path, training__subset_size=500, model__encoder_fine_tune=False, training__optimizer__encoder_lr=1e-3
    )
    warnings = check_data(config).warnings
    assert len(warnings) == 3
    assert "subset of 500 images asked for, but the training split has 32" in warnings[0]
    assert "frozen at random weights" in warnings[1]
    assert "encoder_lr has no effect" in warnings[2]


def test_images_are_decoded_to_a_square_whatever_their_mode(tmp_path: Path) -> None:
    for mode, suffix in (("L", "png"), ("RGBA", "png"), ("P", "gif"), ("CMYK", "jpg"), ("RGB", "webp")):
        path = tmp_path / f"{mode}.{suffix}"
        Image.new(mode, (20, 40), 90 if mode in ("L", "P") else None).save(path)
        pixels = decode(path, 16)
        assert (pixels.shape, str(pixels.dtype)) == ((16, 16, 3), "uint8")


def test_decoded_images_stay_in_memory_up_to_the_limit(data: dict[str, Any]) -> None:
    paths = sorted(Path(data["data.images_dir"]).iterdir())
    images = DecodedImages(paths, 16, 3 * 16 * 16 * 3)
    first = [images[n] for n in range(5)]
    assert [images[n] is first[n] for n in range(5)] == [True] * 3 + [False] * 2
    assert all((images[n] == first[n]).all() for n in range(5))
    shared = shared_images(paths, range(5), 16, limit_gb=0.0)
    assert isinstance(shared, DecodedImages)
    assert shared_images(list(paths), range(5), 16, 0.0) is shared
    assert shared_images(paths[1:], range(5), 16, 0.0) is not shared
    assert shared_images(paths, range(5), 24, 0.0).size_px == 24


def test_the_resize_is_the_usual_share_above_the_crop() -> None:
    assert resize_px(224) == 256
    assert resize_px(28) == 32
