"""Captioning data as files: a folder of images and a CSV of captions. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from trainer.checkpoints.weight_files import require_start
from trainer.config.registry import load
from trainer.data import builtin_scenes
from trainer.data.captions import CaptionTable, read_captions
from trainer.data.datasets_folder import captioned
from trainer.data.image_contents import image_warnings, rendering_of
from trainer.data.image_folders import left_out
from trainer.data.scenes.spec import ScenesSpec
from trainer.data.splits import Selection, asked_too_much, select
from trainer.store.arrays import OnProgress
from trainer.store.image_cache import Images, shared_images
from trainer.task.library_checks import run_checks
from trainer.task.protocols import LOSS, DataSummary, Metric
from trainer.tasks.captioning.config import CaptioningConfig

RESIZE_PART = 256 / 224  # images are resized to this much more than the crop


def scenes_spec(config: CaptioningConfig) -> ScenesSpec | None:
    """The specification of the built-in data, where no files are named."""
    return builtin_scenes.scenes_spec(config.data.scenes, config.data.images_dir is not None)


def read_table(config: CaptioningConfig, progress: OnProgress | None = None) -> CaptionTable:
    """The usable images with their captions; `DataError` names what is wrong by file and row.

    Built-in scenes are drawn if they are missing.
    """
    data, spec = config.data, scenes_spec(config)
    if spec is not None:
        files = builtin_scenes.drawn_files(spec, progress)
        return read_captions(files.images_dir, files.caption_file, data.bad_samples)
    assert data.images_dir is not None, "the configuration checks it"
    if data.caption_file is None:
        return read_captions(*captioned(data.images_dir), data.bad_samples)
    return read_captions(data.images_dir, data.caption_file, data.bad_samples)


def resize_px(image_size: int) -> int:
    """Side to which images are resized before the crop of `image_size`."""
    return round(image_size * RESIZE_PART)


def open_images(
    config: CaptioningConfig, table: CaptionTable, used: Iterable[int], side: int, progress: OnProgress | None = None
) -> Images:
    """The images of a run that trains on crops of `side` pixels."""
    rendering = rendering_of(config.data, table.images)
    return shared_images(table.images, used, resize_px(side), config.data.cache_gb, progress, rendering=rendering)


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
        require_start(config, config.model.weights)
        spec = scenes_spec(config)
        if spec is not None:  # known before they are drawn
            counts, skipped, stamp = np.full(spec.images, spec.captions_per_image), 0, spec.key
            description = builtin_scenes.scenes_words(spec, "data.images_dir and data.caption_file")
            seen: list[str] = []
        else:
            table = read_table(config)
            counts = np.array([len(captions) for captions in table.captions])
            skipped, stamp = table.skipped, table.fingerprint
            place = config.data.caption_file or config.data.images_dir
            description = f"{len(table.images)} images, {counts.sum()} captions from {place}"
            seen = image_warnings(config.data, table.images)
        chosen = select(config, len(counts))
        warnings = (*_warnings(config, chosen, skipped), *seen)
        return chosen.summary(description, stamp, skipped, warnings, int(counts[chosen.train].sum()))

    @staticmethod
    def try_out(config: CaptioningConfig) -> None:
        """An error for weights that do not fit or cannot be fetched; others are then in the library's cache."""
        model, start = config.model, config.checkpoint
        published = model.pretrained and model.backbone != "resnet10_thin"
        if (published or model.weights is not None) and start.resume is None and start.weights is None:
            fetch = load("trainer.tasks.captioning.model:build_backbone")
            run_checks([(["encoder", model.backbone, model.weights], partial(fetch, model, True))])

    @staticmethod
    def prepare(config: CaptioningConfig, progress: OnProgress) -> None:
        table = read_table(config, progress)
        open_images(config, table, select(config, len(table.images)).used, config.data.image_size, progress)


def _warnings(config: CaptioningConfig, chosen: Selection, skipped: int) -> tuple[str, ...]:
    warnings = [*left_out(skipped, "file", "row"), *asked_too_much(config, chosen)]
    model = config.model
    if not model.encoder_fine_tune and not model.pretrained and model.weights is None:
        warnings.append("the encoder is frozen at random weights (model.encoder_fine_tune=true would train it)")
    if not model.encoder_fine_tune and config.training.optimizer.encoder_lr is not None:
        warnings.append("training.optimizer.encoder_lr has no effect: the encoder is frozen (model.encoder_fine_tune)")
    return tuple(warnings)
