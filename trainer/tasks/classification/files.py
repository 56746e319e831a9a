"""Classification data as files: folders of classes, or CSV files of labels. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from trainer import builtin
from trainer.arraystore import OnProgress
from trainer.cache import Images, file_stamp, shared_images
from trainer.errors import DataError
from trainer.imagefiles import fingerprint, images_in, unreadable
from trainer.scenes import ScenesSpec
from trainer.scenes.spec import KINDS
from trainer.splits import Selection, asked_too_much, select
from trainer.task import LOSS, DataSummary, Metric
from trainer.tasks.classification.config import ClassificationConfig
from trainer.tasks.classification.labels import (
    Reading,
    Source,
    class_sizes,
    classes_of,
    read_source,
    split_folders,
)
from trainer.tasks.classification.transformlist import TRANSFORM_LISTS
from trainer.weightfiles import require_start

_UNEVEN = 1.5  # from here on the sizes of the classes are called uneven
_sound: set[str] = set()  # lists of transforms that were tried out, with the images that they were tried on
_SEVERAL_LABELS = ("bce", "bce_with_logits")


@dataclass(frozen=True)
class LabelTable:
    """Usable images with their classes by number; of two sources, the last `held_out` are the validation images.

    `several`: images have other than exactly one label. `twice` are images that both sources name.
    """

    images: tuple[Path, ...]
    labels: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]
    several: bool
    held_out: int
    skipped: int
    twice: tuple[str, ...]
    fingerprint: str


def scenes_spec(config: ClassificationConfig) -> ScenesSpec | None:
    """The built-in data, where no files are named."""
    data = config.data
    return builtin.scenes_spec(data.scenes, data.images_dir is not None or data.labels_file is not None)


def sources(config: ClassificationConfig) -> tuple[Source, ...]:
    """One source of all images, or one to train and one to validate on."""
    data, spec = config.data, scenes_spec(config)
    if spec is not None:
        return (Source("data.images_dir", builtin.drawn_files(spec).classes_dir, None),)
    if data.labels_file is not None:
        images = data.images_dir or data.labels_file.parent
        first = Source("data.labels_file", images, data.labels_file)
        if data.val_labels_file is None:
            return (first,)
        images = data.val_images_dir or data.images_dir or data.val_labels_file.parent
        return first, Source("data.val_labels_file", images, data.val_labels_file)
    assert data.images_dir is not None, "the configuration checks that there is one of them"
    train, val = data.images_dir, data.val_images_dir
    if val is None:
        inner, val = split_folders(train)
        train = inner or train
    first = Source("data.images_dir", train, None)
    return (first,) if val is None else (first, Source("data.val_images_dir", val, None))


def read_table(config: ClassificationConfig) -> LabelTable:
    """The usable images with their labels; `DataError` names what is wrong by file and row."""
    found = sources(config)
    for source in found:
        if source.labels_file is not None and not source.labels_file.is_file():
            raise DataError(f"{source.labels_file}: no such file of labels ({source.key})")
        if not source.images_dir.is_dir():
            key = source.key.replace("labels_file", "images_dir")
            raise DataError(f"{source.images_dir}: no such folder of images ({key})")
    prints = tuple(fingerprint(source.images_dir, source.labels_file) for source in found)
    several = config.criterion.type in _SEVERAL_LABELS
    reading = Reading(config.data.label_separator if several else "", config.data.bad_samples == "skip")
    return _read(found, prints, reading)


@lru_cache(maxsize=4)
def _read(found: tuple[Source, ...], prints: tuple[str, ...], reading: Reading) -> LabelTable:
    sides = [read_source(source, reading, stamp) for source, stamp in zip(found, prints, strict=True)]
    classes = classes_of(sides)
    number = {name: place for place, name in enumerate(classes)}
    labels = [labels for side in sides for labels in side.labels.values()]
    paths = [[source.images_dir / name for name in side.labels] for source, side in zip(found, sides, strict=True)]
    held = set(paths[1]) if len(paths) == 2 else set()
    return LabelTable(
        images=tuple(path for side in paths for path in side),
        labels=tuple(tuple(sorted(number[name] for name in names)) for names in labels),
        classes=classes,
        several=any(len(names) != 1 for names in labels),
        held_out=len(held),
        skipped=sum(side.left_out for side in sides),
        twice=tuple(str(path) for path in paths[0] if path in held),
        fingerprint=prints[0] if len(prints) == 1 else hashlib.sha256("".join(prints).encode()).hexdigest()[:16],
    )


def checked_classes(config: ClassificationConfig, classes: Sequence[str], several: bool) -> None:
    """`DataError` where the data have other than `model.n_classes` classes, or too few to tell apart."""
    asked = config.model.n_classes
    shown = ", ".join(classes[:8]) + (", …" if len(classes) > 8 else "")
    if asked is not None and asked != len(classes):
        fix = f"set model.n_classes={len(classes)}, or leave it out"
        raise DataError(f"model.n_classes={asked}, but the data have {len(classes)} classes ({shown}); {fix}")
    if len(classes) < (1 if several else 2):
        raise DataError(f"{len(classes)} class{'' if len(classes) == 1 else 'es'} ({shown}): nothing to tell apart")


def background_files(config: ClassificationConfig) -> tuple[Path, ...]:
    """The pictures that training images are pasted onto; none where that is off."""
    data = config.data
    if not data.insert_background_p or data.backgrounds_dir is None or config.training.overfit:
        return ()
    if not data.backgrounds_dir.is_dir():
        raise DataError(f"{data.backgrounds_dir}: no such folder of pictures (data.backgrounds_dir)")
    names = images_in(data.backgrounds_dir)
    if data.bad_samples == "skip":
        bad = unreadable(names, data.backgrounds_dir, _stamp([data.backgrounds_dir / name for name in names]))
        names = [name for name in names if name not in bad]
        if not names:
            raise DataError(f"{data.backgrounds_dir}: no readable picture in it ({len(bad)} left out)")
    return tuple(data.backgrounds_dir / name for name in names)


def _stamp(paths: Sequence[Path]) -> str:
    return hashlib.sha256(json.dumps([file_stamp(path) for path in paths]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Pictures:
    """The images of a run, and those that they are pasted onto, where there are any."""

    images: Images
    backgrounds: Images | None

    @property
    def cached(self) -> bool:
        return self.images.cached and (self.backgrounds is None or self.backgrounds.cached)

    @property
    def notes(self) -> tuple[str, ...]:
        return (self.images.note, *((self.backgrounds.note,) if self.backgrounds is not None else ()))


def source_px(config: ClassificationConfig, side: int) -> int:
    """Side at which images are kept for training at `side`."""
    return round(side * config.data.source_scale)


def opacity_channels(config: ClassificationConfig) -> int:
    """Channels in which images are decoded: with their opacity, too, where they are pasted."""
    channels = config.model.in_channels
    return channels + 1 if background_files(config) and channels in (1, 3) else channels


def open_pictures(
    config: ClassificationConfig,
    table: LabelTable,
    used: Iterable[int],
    side: int,
    progress: OnProgress | None = None,
) -> Pictures:
    """The pictures of a run at `side` pixels, larger by `source_scale`."""
    backgrounds, limit, px = background_files(config), config.data.cache_gb, source_px(config, side)
    images = shared_images(table.images, used, px, limit, progress, opacity_channels(config))
    if not backgrounds:
        return Pictures(images, None)
    colours = 1 if config.model.in_channels < 3 else 3
    behind = shared_images(backgrounds, range(len(backgrounds)), px, limit, progress, colours)
    return Pictures(images, behind)


class ClassificationFiles:
    """`TaskFiles` of classification."""

    CHEAP_EVALUATION: ClassVar[Mapping[str, Any]] = {}
    LOSS_KEYS: ClassVar[Sequence[str]] = ("criterion.type",)  # smoothing and reduction are of training alone
    # The criterion says whether an image may have several labels.
    DATA_KEYS: ClassVar[Sequence[str]] = (
        "data.scenes.", "data.bad_samples", "data.label_separator", "data.insert_background_p", "model.n_classes",
        "criterion.type",
    )  # fmt: skip

    @staticmethod
    def metric(config: ClassificationConfig) -> Metric:
        return Metric("accuracy", "accuracy", "maximize", 1.0) if config.metrics.accuracy else LOSS

    @staticmethod
    def check(config: ClassificationConfig) -> DataSummary:
        require_start(config, config.model.weights)
        spec = scenes_spec(config)
        if spec is not None:  # known without drawing them
            checked_classes(config, KINDS, several=False)
            count = len(KINDS) * spec.images_per_class
            chosen, skipped, stamp = select(config, count), 0, spec.key
            warnings: tuple[str, ...] = ()
            words = builtin.scenes_words(replace(spec, images=count), "data.images_dir or data.labels_file")
        else:
            table = read_table(config)
            checked_classes(config, table.classes, table.several)
            chosen = select(config, len(table.images), table.held_out)
            skipped, stamp = table.skipped, table.fingerprint
            warnings = _warnings(config, table, chosen)
            words = f"{len(table.images)} images of {len(table.classes)} classes from "
            words += " and ".join(str(source.labels_file or source.images_dir) for source in sources(config))
        behind = background_files(config)
        if behind:
            stamp = hashlib.sha256(f"{stamp} {_stamp(behind)}".encode()).hexdigest()[:16]
        if not behind and config.data.backgrounds_dir is not None and not config.data.insert_background_p:
            warnings += ("data.backgrounds_dir has no effect: data.insert_background_p is 0",)
        return chosen.summary(words, stamp, skipped, (*asked_too_much(config, chosen), *warnings))

    @staticmethod
    def try_out(config: ClassificationConfig) -> None:
        """A transform that torchvision refuses, or that does not take such images: not known when a study is planned,
        because torchvision takes seconds to import."""
        lists = [getattr(config.data, name) for name in TRANSFORM_LISTS]
        side, channels = config.data.image_size, config.model.in_channels
        same = json.dumps([lists, side, source_px(config, side), channels], default=str)
        if any(lists) and same not in _sound:
            from trainer.tasks.classification.transforms import build_chains

            build_chains(config.data, side, source_px(config, side), channels)
            _sound.add(same)

    @staticmethod
    def prepare(config: ClassificationConfig, progress: OnProgress) -> None:
        def open_all() -> None:
            table = read_table(config)
            chosen = select(config, len(table.images), table.held_out)
            open_pictures(config, table, chosen.used, config.data.image_size, progress)

        builtin.prepare(scenes_spec(config), open_all, progress)


def _warnings(config: ClassificationConfig, table: LabelTable, chosen: Selection) -> tuple[str, ...]:
    said = []
    if table.skipped:
        said.append(f"{table.skipped} unusable images, rows or folders left out (data.bad_samples=skip)")
    if table.twice:
        said.append(f"{len(table.twice)} images are trained and validated on, such as {table.twice[0]}")
    everything = class_sizes(table.labels, iter(range(len(table.images))), len(table.classes))
    large, small = int(np.argmax(everything)), int(np.argmin(everything))
    if everything[large] > _UNEVEN * everything[small]:
        many, few = (f"{table.classes[place]} has {everything[place]}" for place in (large, small))
        times = everything[large] / max(1, everything[small])
        said.append(f"uneven classes: {many} images, {few} ({times:.3g}×); f1_macro weighs all classes alike")
    trained = class_sizes(table.labels, map(int, chosen.train), len(table.classes))
    lacking = [table.classes[place] for place, count in enumerate(trained) if not count]
    if lacking and not config.training.overfit:
        shown = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        said.append(f"no image to train on for class {shown}")
    return tuple(said)
