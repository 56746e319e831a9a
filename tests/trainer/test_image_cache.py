"""Decoded images, once for all runs: the same pixels as without, also after every kind of damage and change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detection_parts import tiny_detection
from PIL import Image
from trainer_parts import same, session_of, tiny, trained, training_state

import trainer.store.image_cache
from trainer.api import DataError, Hooks, cache_dir, prepare_data
from trainer.store.image_cache import CachedImages, DecodedImages, decode, shared_images


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache folder, and a process that has opened nothing yet."""
    monkeypatch.setenv("RUNGWISE_CACHE", str(tmp_path / "cache"))
    forget(monkeypatch)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.store.image_cache, "KEPT", trainer.store.image_cache.KeptOpen())


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        noise = np.random.default_rng(number).integers(0, 255, (9 + number, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((60, 45)).save(folder / f"{number:02d}.jpg")
    return sorted(folder.iterdir())


def stores() -> list[Path]:
    return sorted((cache_dir() / "images").glob("*.rows"))


def assert_decoded(images: Any, paths: list[Path], used: list[int]) -> None:
    for index in used:
        assert np.array_equal(images[index], decode(paths[index], images.size_px))


def test_a_cached_image_is_the_decoded_one(photos: list[Path]) -> None:
    seen: list[tuple[int, int]] = []
    used = [31, 4, 4, 0, 17]
    images = shared_images(photos, used, 24, 1.0, lambda done, of: seen.append((done, of)))
    assert isinstance(images, CachedImages)
    assert images.note.startswith("4 images decoded at 24 px in ")
    assert_decoded(images, photos, used)
    assert seen == [(4, 4)]
    again = shared_images(photos, [0, 4, 17, 31], 24, 1.0, lambda done, of: seen.append((done, of)))
    assert again.note == ""
    assert len(seen) == len(stores()) == 1
    assert_decoded(shared_images(photos, range(40), 24, 1.0), photos, list(range(40)))
    assert_decoded(shared_images(photos, used, 16, 1.0), photos, used)
    assert len(stores()) == 3


def test_a_list_with_other_places_takes_the_same_store(photos: list[Path]) -> None:
    shared_images(photos, [5, 6], 24, 1.0)
    images = shared_images(photos[5:], [0, 1], 24, 1.0)
    assert_decoded(images, photos[5:], [0, 1])
    assert len(stores()) == 1


def test_a_changed_file_is_noticed(photos: list[Path]) -> None:
    shared_images(photos, range(40), 24, 1.0)
    before = photos[3].stat()
    content = bytearray(photos[3].read_bytes())
    Image.new("RGB", (60, 45), (200, 10, 10)).save(photos[7])
    photos[9].write_bytes(photos[8].read_bytes())
    images = shared_images(photos, range(40), 24, 1.0)
    assert_decoded(images, photos, list(range(40)))
    photos[3].write_bytes(content)  # the same bytes at another time: decoded again, to be sure
    os.utime(photos[3], ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    shared_images(photos, range(40), 24, 1.0)
    assert len(stores()) == 3


def test_pixels_are_right_after_any_damage(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    used = list(range(40))
    shared_images(photos, used, 24, 1.0)
    (store,) = stores()
    whole = store.read_bytes()
    for damaged in (b"", whole[:300], whole[:-1000], whole[:-1] + bytes([whole[-1] ^ 1]), bytes(len(whole))):
        for fresh in (False, True):
            store.write_bytes(damaged)
            if fresh:
                forget(monkeypatch)
            assert_decoded(shared_images(photos, used, 24, 1.0), photos, used)
            assert store.read_bytes() == whole
    store.unlink()
    assert_decoded(shared_images(photos, used, 24, 1.0), photos, used)


def test_where_a_damaged_store_cannot_be_made_again_images_are_decoded(photos: list[Path]) -> None:
    images = shared_images(photos, [1, 2], 24, 1.0)
    assert isinstance(images, CachedImages)
    with stores()[0].open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([int(images.store._rows[1, -1, -1, -1]) ^ 1]))
    images.store.limit_bytes = 0
    assert_decoded(images, photos, [1, 2])


def test_beyond_the_limit_images_are_decoded_as_usual_and_it_is_said(photos: list[Path]) -> None:
    images = shared_images(photos, range(40), 24, 1e-5)
    assert isinstance(images, DecodedImages)
    assert "40 images are not cached at 24 px" in images.note
    assert "data.cache_gb" in images.note
    assert_decoded(images, photos, list(range(40)))
    assert not stores()


def test_without_a_folder_that_can_be_written_likewise(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGWISE_CACHE", str(photos[0]))
    images = shared_images(photos, range(40), 24, 1.0)
    assert isinstance(images, DecodedImages)
    assert "not cached" in images.note
    assert_decoded(images, photos, [0, 39])


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_grey_of_16_bits_is_scaled_and_not_clipped(name: str, tmp_path: Path) -> None:
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024
    Image.fromarray(grey).save(tmp_path / name)
    assert np.array_equal(decode(tmp_path / name, 8)[..., 0], grey // 256)


def test_grey_without_a_range_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif: not a readable image \(floating-point grey has no fixed range"):
        decode(tmp_path / "float.tif", 8)


def test_an_unreadable_image_is_named(photos: list[Path]) -> None:
    photos[20].write_bytes(photos[20].read_bytes()[:300])
    with pytest.raises(DataError, match=r"20\.jpg: not a readable image"):
        shared_images(photos, range(40), 24, 1.0)
    assert_decoded(shared_images(photos, range(20), 24, 1.0), photos, list(range(20)))


KINDS: dict[str, Any] = {"captioning": tiny, "detection": tiny_detection}


@pytest.mark.parametrize("kind", KINDS)
def test_cached_batches_are_the_decoded_ones_to_the_bit(kind: str, tmp_path: Path) -> None:
    batches = []
    for cache_gb in (1.0, 0.0):
        with session_of(KINDS[kind](tmp_path, data__cache_gb=cache_gb)) as session:
            loaders = session.run.loaders
            batches.append([])
            for loaders.batches.epoch in (1, 2):
                batches[-1] += [*loaders.train, *loaders.val]
    assert same(*batches)
    assert batches[0][0]["images"].dtype == torch.uint8


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_from_the_cache_is_the_run_without(kind: str, tmp_path: Path) -> None:
    for name, cache_gb in (("cached", 1.0), ("again", 1.0), ("decoded", 0.0)):
        trained(KINDS[kind](tmp_path / name, data__cache_gb=cache_gb), until=2)
    assert same(training_state(tmp_path / "cached"), training_state(tmp_path / "decoded"))
    assert same(training_state(tmp_path / "again"), training_state(tmp_path / "decoded"))


@pytest.mark.slow
def test_a_run_may_go_on_with_another_limit(tmp_path: Path) -> None:
    trained(tiny(tmp_path / "one"))
    trained(tiny(tmp_path / "two", data__cache_gb=0.0), until=2)
    trained(tiny(tmp_path / "two"), resume=True)
    assert same(training_state(tmp_path / "one"), training_state(tmp_path / "two"))


def test_no_loading_processes_over_a_cache(tmp_path: Path) -> None:
    for cache_gb, workers in ((1.0, 0), (0.0, 2)):
        with session_of(tiny(tmp_path, data__cache_gb=cache_gb, data__num_workers=2)) as session:
            assert session.run.loaders.train.num_workers == session.run.loaders.val.num_workers == workers


def test_a_run_says_what_it_decoded_or_why_it_could_not(tmp_path: Path) -> None:
    said: list[str] = []
    for side, cache_gb in ((28, 1.0), (28, 1.0), (24, 1e-6)):
        with session_of(tiny(tmp_path, data__image_size=side, data__cache_gb=cache_gb), Hooks(say=said.append)):
            pass
    words = [line for line in said if "images" in line]
    assert len(words) == 2
    assert "40 images decoded at 32 px" in words[0]
    assert "not cached" in words[1]


def test_only_what_a_run_looks_at_is_decoded(tmp_path: Path) -> None:
    seen: list[int] = []
    config = tiny(tmp_path, training__subset_size=10, data__val_subset_size=4)
    prepare_data(config, lambda _done, of: seen.append(of))
    assert seen[-1] == 14
    with session_of(config):
        assert len(stores()) == 1, "what was prepared is what is used"
