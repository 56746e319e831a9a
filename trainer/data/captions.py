"""Images in a folder with captions in a file, checked. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from trainer.data.caption_files import CaptionsFound, captions_in
from trainer.data.image_folders import existing, table_fingerprint, unreadable, with_nearest
from trainer.data.split_names import TRAIN, VALIDATION
from trainer.errors import DataError, counted, listed


@dataclass(frozen=True)
class CaptionTable:
    """Usable images in the order in which their file first names them, each with its captions.

    Where the file says which are for validation, these `held_out` stand last. `form` says as what it was read.
    """

    images: tuple[Path, ...]
    captions: tuple[tuple[str, ...], ...]
    skipped: int
    fingerprint: str
    held_out: int = 0
    form: str = ""

    @property
    def words(self) -> str:
        """The number of images and captions."""
        return f"{len(self.images)} images, {sum(map(len, self.captions))} captions"


@dataclass(frozen=True)
class Stamp:
    """The state of the files of captions and images. `caption_file` may be a folder of caption files."""

    images_dir: Path
    caption_file: Path
    policy: str
    fingerprint: str


def read_captions(images_dir: Path, caption_file: Path, policy: Literal["error", "skip"]) -> CaptionTable:
    """The usable images with their captions, from a file of any form; `DataError` says what is wrong, and where."""
    if not caption_file.is_file():
        raise DataError(f"{caption_file}: no such caption file (data.caption_file)")
    if not images_dir.is_dir():
        raise DataError(f"{images_dir}: no such folder of images (data.images_dir)")
    state = table_fingerprint(images_dir, caption_file, lambda: captions_in(caption_file, images_dir).used())
    return _read(Stamp(images_dir, caption_file, policy, state))


@lru_cache(maxsize=8)
def _read(stamp: Stamp) -> CaptionTable:
    return usable_captions(captions_in(stamp.caption_file, stamp.images_dir), stamp)


def usable_captions(found: CaptionsFound, stamp: Stamp) -> CaptionTable:
    """The existing images with their captions, whatever kind of file these were read from.

    `DataError` says what could not be used and which images are missing, unless they are skipped; then images that do
    not decode are left out too.
    """
    skip = stamp.policy == "skip"
    by_image = found.used()
    names, missing = existing(by_image, stamp.images_dir)
    faults = [f"{stamp.caption_file}: {listed(found.wrong, f'unusable {found.noun}')}"] if found.wrong else []
    if (faults or missing) and not skip:
        if missing:
            faults += [f"{stamp.images_dir}: {listed(with_nearest(missing, stamp.images_dir), 'missing image')}"]
        raise DataError("; ".join([*faults, "data.bad_samples=skip leaves them out"]))
    if skip:
        bad = unreadable(names, stamp.images_dir, stamp.fingerprint)
        names = [name for name in names if name not in bad]
        missing += sorted(bad)
    left_out = len(found.wrong) + len(missing)
    if not names:
        raise DataError(f"{stamp.caption_file}: no usable caption in it ({left_out} left out)")
    train = [name for name in names if found.splits.get(name, TRAIN) == TRAIN]
    held = [name for name in names if found.splits.get(name) == VALIDATION]
    if not train:
        raise DataError(f"{stamp.caption_file}: no usable image to train on in it; its splits leave none")
    return CaptionTable(
        tuple(stamp.images_dir / name for name in [*train, *held]),
        tuple(tuple(by_image[name]) for name in [*train, *held]),
        left_out,
        stamp.fingerprint,
        len(held),
        _form(found, len(train), len(held)),
    )


def _form(found: CaptionsFound, train: int, held: int) -> str:
    """As what a file was read, and what was made of its splits."""
    if not found.splits:
        return found.form
    tested = counted(len(found.captions) - len(found.used()), "test image")
    by = (
        f"its own split of {train} and {held}" if held else "no validation images of its own: data.val_split draws them"
    )
    return f"{found.form}, {by}, {tested} left out"
