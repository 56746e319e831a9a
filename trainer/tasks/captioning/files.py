"""Captioning data as files: a folder of images and a CSV of captions. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from trainer import builtin
from trainer.arraystore import OnProgress
from trainer.cache import Images, shared_images
from trainer.csvfile import csv_rows
from trainer.errors import DataError
from trainer.imagefiles import existing, fingerprint, listed, unreadable
from trainer.scenes import ScenesSpec
from trainer.splits import Selection, asked_too_much, select
from trainer.task import LOSS, DataSummary, Metric
from trainer.tasks.captioning.config import CaptioningConfig

HEADER = ["image", "caption"]
RESIZE_PART = 256 / 224  # images are squeezed to this much more than the crop


@dataclass(frozen=True)
class CaptionTable:
    """Usable images in the order in which the CSV first names them, each with its captions."""

    images: tuple[Path, ...]
    captions: tuple[tuple[str, ...], ...]
    skipped: int
    fingerprint: str


@dataclass(frozen=True)
class Stamp:
    """What tells one state of the files from another."""

    images_dir: Path
    caption_file: Path
    policy: str
    fingerprint: str


def scenes_spec(config: CaptioningConfig) -> ScenesSpec | None:
    """The built-in data, where no files are named."""
    return builtin.scenes_spec(config.data.scenes, config.data.caption_file is not None)


def data_paths(config: CaptioningConfig) -> tuple[Path, Path]:
    """Image folder and caption file: those named, else those of the built-in scenes."""
    spec = scenes_spec(config)
    if spec is not None:
        files = builtin.drawn_files(spec)
        return files.images_dir, files.caption_file
    assert config.data.images_dir is not None, "the configuration checks that one comes with the other"
    assert config.data.caption_file is not None, "as above"
    return config.data.images_dir, config.data.caption_file


def read_table(config: CaptioningConfig) -> CaptionTable:
    """The usable images with their captions; `DataError` names what is wrong by file and row."""
    images_dir, caption_file = data_paths(config)
    if not caption_file.is_file():
        raise DataError(f"{caption_file}: no such caption file (data.caption_file)")
    if not images_dir.is_dir():
        raise DataError(f"{images_dir}: no such folder of images (data.images_dir)")
    return _read(Stamp(images_dir, caption_file, config.data.bad_samples, fingerprint(images_dir, caption_file)))


@lru_cache(maxsize=8)
def _read(stamp: Stamp) -> CaptionTable:
    skip = stamp.policy == "skip"
    wrong: list[str] = []
    by_image: dict[str, list[str]] = {}
    for row, cells in csv_rows(stamp.caption_file, HEADER):
        problem = _problem(cells)
        if problem:
            wrong.append(f"row {row}: {problem}")
        else:
            by_image.setdefault(cells[0].strip(), []).append(" ".join(cells[1].split()))
    if wrong and not skip:
        raise DataError(f"{stamp.caption_file}: {listed(wrong, 'unusable row')}")
    names, missing = existing(by_image, stamp.images_dir)
    if missing and not skip:
        hint = "data.bad_samples=skip leaves them out"
        raise DataError(f"{stamp.images_dir}: {listed(missing, 'missing image')}; {hint}")
    if skip:
        bad = unreadable(names, stamp.images_dir, stamp.fingerprint)
        names = [name for name in names if name not in bad]
        missing += sorted(bad)
    if not names:
        raise DataError(f"{stamp.caption_file}: no usable caption in it ({len(wrong) + len(missing)} left out)")
    return CaptionTable(
        tuple(stamp.images_dir / name for name in names),
        tuple(tuple(by_image[name]) for name in names),
        len(wrong) + len(missing),
        stamp.fingerprint,
    )


def _problem(cells: Sequence[str]) -> str:
    if len(cells) != len(HEADER):
        return f"{len(cells)} cells instead of 2 (a caption with commas needs quotes)"
    if [cell.strip() for cell in cells] == HEADER:
        return "the header a second time"
    if not cells[0].strip():
        return "no image name"
    return "" if cells[1].strip() else f"empty caption of {cells[0]}"


def resize_px(image_size: int) -> int:
    """Side to which images are resized before the crop of `image_size`."""
    return round(image_size * RESIZE_PART)


def open_images(
    config: CaptioningConfig, table: CaptionTable, used: Iterable[int], side: int, progress: OnProgress | None = None
) -> Images:
    """The images of a run that trains on crops of `side` pixels."""
    return shared_images(table.images, used, resize_px(side), config.data.cache_gb, progress)


def draw_scenes(config: CaptioningConfig, progress: OnProgress | None = None) -> None:
    """Makes sure of the built-in data, where no files are named."""
    builtin.draw_scenes(scenes_spec(config), progress)


class CaptioningFiles:
    """`TaskFiles` of captioning."""

    CHEAP_EVALUATION: ClassVar[Mapping[str, Any]] = {"evaluation.beam_size": 1}

    @staticmethod
    def metric(config: CaptioningConfig) -> Metric:
        wanted = config.metrics
        scorer = (wanted.use_sacrebleu_if_available and find_spec("sacrebleu")) or find_spec("nltk")
        return Metric("bleu", "BLEU", "maximize", 100.0) if wanted.bleu and scorer else LOSS

    @staticmethod
    def check(config: CaptioningConfig) -> DataSummary:
        spec = scenes_spec(config)
        if spec is not None:  # known without drawing them
            counts, skipped, stamp = np.full(spec.images, spec.captions_per_image), 0, spec.key
            words = builtin.scenes_words(spec, "data.images_dir and data.caption_file")
        else:
            table = read_table(config)
            counts, skipped, stamp = (
                np.array([len(c) for c in table.captions]),
                table.skipped,
                table.fingerprint,
            )
            words = f"{len(table.images)} images, {counts.sum()} captions from {config.data.caption_file}"
        chosen = select(config, len(counts))
        return DataSummary(
            train_split_images=len(chosen.train_split),
            train_images=len(chosen.train),
            train_rows=int(counts[chosen.train].sum()),
            val_images=len(chosen.val),
            skipped=skipped,
            fingerprint=stamp,
            words=words,
            warnings=_warnings(config, chosen, skipped),
        )

    @staticmethod
    def prepare(config: CaptioningConfig, progress: OnProgress) -> None:
        draw_scenes(config, progress)
        with suppress(DataError):  # what cannot be read is for the run that wants it to say
            table = read_table(config)
            open_images(config, table, select(config, len(table.images)).used, config.data.image_size, progress)


def _warnings(config: CaptioningConfig, chosen: Selection, skipped: int) -> tuple[str, ...]:
    said = []
    if skipped:
        said.append(
            f"{skipped} unusable {'file or row' if skipped == 1 else 'files or rows'} left out (data.bad_samples=skip)"
        )
    said += asked_too_much(config, chosen)
    model = config.model
    if not model.encoder_fine_tune and not model.pretrained and model.weights is None:
        said.append("the encoder is frozen at random weights (model.encoder_fine_tune=true would train it)")
    if not model.encoder_fine_tune and config.training.optimizer.encoder_lr is not None:
        said.append("training.optimizer.encoder_lr has no effect: the encoder is frozen (model.encoder_fine_tune)")
    return tuple(said)
