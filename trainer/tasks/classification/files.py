"""Classification data as files: folders of classes, or CSV files of labels. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.checkpoints.weight_files import require_start
from trainer.config.registry import load
from trainer.data import builtin_scenes
from trainer.data.class_names import absent_classes, doubtful_classes
from trainer.data.datasets_folder import recognised
from trainer.data.image_contents import image_warnings
from trainer.data.image_folders import SUFFIXES, fingerprint, left_out, stats_below, table_fingerprint
from trainer.data.scenes.spec import KINDS, ScenesSpec
from trainer.data.splits import Selection, asked_too_much, select
from trainer.errors import DataError, counted, listed
from trainer.store.arrays import OnProgress
from trainer.task.defaults import FilesDefaults
from trainer.task.library_checks import Check, run_checks, section
from trainer.task.protocols import LOSS, DataSummary, Metric
from trainer.tasks.classification.config import ClassificationConfig
from trainer.tasks.classification.labels import (
    Reading,
    Source,
    aside,
    classes_of,
    labelled_tables,
    named_images,
    read_source,
    split_folders,
    split_sources,
)
from trainer.tasks.classification.source_images import background_files, open_source_images, source_px, stamp_of
from trainer.tasks.classification.transformlist import TRANSFORM_LISTS

_UNEVEN = 1.5  # from this ratio on a warning reports uneven classes
_MOST_CHANNELS = 4  # that an image file is read with
_SEVERAL_LABELS = ("bce", "bce_with_logits")


@dataclass(frozen=True)
class LabelTable:
    """Usable images with their classes by number; of two sources, the last `held_out` are the validation images.

    `several`: images have other than exactly one label. `twice` are images that both sources name, `foreign` those of
    kinds that are not read.
    """

    images: tuple[Path, ...]
    labels: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]
    several: bool
    held_out: int
    skipped: int
    twice: tuple[str, ...]
    foreign: tuple[str, ...]
    fingerprint: str

    @property
    def targets(self) -> str:
        """A description of what a model predicts for an image."""
        return f"{'any' if self.several else 'one'} of {listed(self.classes, 'class')}"


def scenes_spec(config: ClassificationConfig) -> ScenesSpec | None:
    """The specification of the built-in data, where no files are named."""
    data = config.data
    return builtin_scenes.scenes_spec(data.scenes, data.images_dir is not None or data.labels_file is not None)


def sources(config: ClassificationConfig, progress: OnProgress | None = None) -> tuple[Source, ...]:
    """One source of all images, or one to train and one to validate on; built-in scenes are drawn if necessary."""
    data, spec = config.data, scenes_spec(config)
    if spec is not None:
        return (Source("data.images_dir", builtin_scenes.drawn_files(spec, progress).classes_dir, None),)
    if data.labels_file is not None:
        images = data.images_dir or data.labels_file.parent
        if data.val_labels_file is None:
            return split_sources("data.labels_file", images, data.labels_file)
        first = Source("data.labels_file", images, data.labels_file)
        images = data.val_images_dir or data.images_dir or data.val_labels_file.parent
        return first, Source("data.val_labels_file", images, data.val_labels_file)
    assert data.images_dir is not None, "the configuration checks that there is one of them"
    if recognised(data.images_dir):
        return labelled_tables(data.images_dir)
    train, val = data.images_dir, data.val_images_dir
    if val is None:
        inner, val, _ = split_folders(train)
        train = inner or train
    first = Source("data.images_dir", train, None)
    return (first,) if val is None else (first, Source("data.val_images_dir", val, None))


def read_table(config: ClassificationConfig, progress: OnProgress | None = None) -> LabelTable:
    """The usable images with their labels; `DataError` names what is wrong by file and row."""
    named = sources(config, progress)
    for source in named:
        if source.labels_file is not None and not source.labels_file.is_file():
            raise DataError(f"{source.labels_file}: no such file of labels ({source.key})")
        if not source.images_dir.is_dir():
            key = source.key.replace("labels_file", "images_dir")
            raise DataError(f"{source.images_dir}: no such folder of images ({key})")
    prints = tuple(map(_fingerprint, named))
    several = config.criterion.type in _SEVERAL_LABELS
    reading = Reading(config.data.label_separator if several else "", config.data.bad_samples == "skip")
    return _read(named, prints, reading)


def _fingerprint(source: Source) -> str:
    if source.labels_file is None:
        return fingerprint(stats_below(source.images_dir, SUFFIXES))
    return table_fingerprint(
        source.images_dir, source.labels_file, partial(named_images, source.labels_file, source.images_dir)
    )


@lru_cache(maxsize=4)
def _read(named: tuple[Source, ...], prints: tuple[str, ...], reading: Reading) -> LabelTable:
    sides = [read_source(source, reading, stamp) for source, stamp in zip(named, prints, strict=True)]
    classes = classes_of(sides)
    number = {name: place for place, name in enumerate(classes)}
    labels = [labels for side in sides for labels in side.labels.values()]
    paths = [[source.images_dir / name for name in side.labels] for source, side in zip(named, sides, strict=True)]
    held = set(paths[1]) if len(paths) == 2 else set()
    return LabelTable(
        images=tuple(path for side in paths for path in side),
        labels=tuple(tuple(sorted(number[name] for name in names)) for names in labels),
        classes=classes,
        several=any(len(names) != 1 for names in labels),
        held_out=len(held),
        skipped=sum(side.left_out for side in sides),
        twice=tuple(str(path) for path in paths[0] if path in held),
        foreign=tuple(name for side in sides for name in side.foreign),
        fingerprint=prints[0] if len(prints) == 1 else hashlib.sha256("".join(prints).encode()).hexdigest()[:16],
    )


def checked_classes(config: ClassificationConfig, classes: Sequence[str], several: bool) -> None:
    """`DataError` where the data do not have `model.n_classes` classes, or have too few."""
    asked = config.model.n_classes
    shown = ", ".join(classes[:8]) + (", …" if len(classes) > 8 else "")
    if asked is not None and asked != len(classes):
        fix = f"set model.n_classes={len(classes)}, or leave it out"
        raise DataError(f"model.n_classes={asked}, but the data have {len(classes)} classes ({shown}); {fix}")
    if len(classes) < (1 if several else 2):
        inner = [folder / classes[0] for folder in (config.data.images_dir,) if folder is not None and classes]
        below = [folder for folder in inner if folder.is_dir() and any(path.is_dir() for path in folder.iterdir())]
        advice = f"; are the classes the folders in it? Then data.images_dir={below[0]}" if below else ""
        raise DataError(f"{counted(len(classes), 'class')} ({shown}): nothing to tell apart{advice}")


class ClassificationFiles(FilesDefaults):
    """`TaskFiles` of classification."""

    @staticmethod
    def metric(config: ClassificationConfig) -> Metric:
        return Metric("accuracy", "accuracy", "maximize", 1.0) if config.metrics.accuracy else LOSS

    @staticmethod
    def check(config: ClassificationConfig) -> DataSummary:
        require_start(config, config.model.weights)
        _require_apart(config)
        _require_channels(config)
        spec = scenes_spec(config)
        targets = ""
        if spec is not None:  # known before they are drawn
            checked_classes(config, KINDS, several=False)
            count = len(KINDS) * spec.images_per_class
            chosen, skipped, stamp = select(config, count), 0, spec.key
            warnings: tuple[str, ...] = ()
            description = builtin_scenes.scenes_words(
                replace(spec, images=count), "data.images_dir or data.labels_file"
            )
        else:
            table = read_table(config)
            checked_classes(config, table.classes, table.several)
            chosen = select(config, len(table.images), table.held_out)
            skipped, stamp, targets = table.skipped, table.fingerprint, table.targets
            warnings = _warnings(config, table, chosen)
            description = f"{len(table.images)} images of {len(table.classes)} classes from "
            description += " and ".join(_places(config))
        behind = background_files(config)
        if behind:
            stamp = hashlib.sha256(f"{stamp} {stamp_of(behind)}".encode()).hexdigest()[:16]
        if not behind and config.data.backgrounds_dir is not None and not config.data.insert_background_p:
            warnings += ("data.backgrounds_dir has no effect: data.insert_background_p is 0",)
        every_warning = (*asked_too_much(config, chosen), *warnings)
        summary = chosen.summary(description, stamp, skipped, every_warning, targets=targets)
        return replace(summary, notes=tuple(filter(None, [config.model.library_note])))

    @staticmethod
    def try_out(config: ClassificationConfig) -> None:
        """Checks that the backbone takes such images and that torchvision accepts the transforms; takes seconds."""
        sides = tuple(dict.fromkeys(size for _, size in config.training.resize_schedule or ()))
        sides = sides or (config.data.image_size,)
        lists = [getattr(config.data, name) for name in TRANSFORM_LISTS]
        model, channels = config.model, config.model.in_channels
        checks: list[Check] = []
        if config.checkpoint.resume is None:
            require: Callable[..., None] = load("trainer.tasks.classification.backbones:require_backbone")
            fresh = config.checkpoint.weights is None
            checks.append((["backbone", section(model), sides, fresh], partial(require, model, sides, fresh)))
        for side in sides if any(lists) else ():
            build: Callable[..., object] = load("trainer.tasks.classification.transforms:build_chains")
            source = source_px(config, side)
            subject = ["transforms", lists, side, source, channels]
            checks.append((subject, partial(build, config.data, side, source, channels)))
        run_checks(checks)

    @staticmethod
    def prepare(config: ClassificationConfig, progress: OnProgress) -> None:
        table = read_table(config, progress)
        chosen = select(config, len(table.images), table.held_out)
        open_source_images(config, table.images, chosen.used, config.data.image_size, progress)


def _require_apart(config: ClassificationConfig) -> None:
    """`DataError` where a folder that the run writes would count as a class."""
    folder, written = config.data.images_dir, config.checkpoint.dir
    if folder is not None and config.data.labels_file is None and written.is_relative_to(folder):
        what = f"checkpoint.dir={written} lies in data.images_dir={folder}, whose folders are classes"
        raise DataError(f"{what}: keep the images in a folder of their own")


def _places(config: ClassificationConfig) -> Iterable[str]:
    """The files and folders that the images and their labels are in, as the configuration names them."""
    data = config.data
    if data.labels_file is None and recognised(data.images_dir):
        return [str(data.images_dir)]
    return dict.fromkeys(str(source.labels_file or source.images_dir) for source in sources(config))


def _require_channels(config: ClassificationConfig) -> None:
    """`DataError` where the model takes more channels than image files have."""
    channels = config.model.in_channels
    if channels > _MOST_CHANNELS:
        what = f"image files have at most {_MOST_CHANNELS} channels (colour and opacity), as they are read here"
        raise DataError(f"model.in_channels={channels}: {what}; take 1, 2, 3 or 4, or a task of your own")


def _class_sizes(table: LabelTable, images: Iterable[int]) -> NDArray[np.int64]:
    """The number of images of each class, among these."""
    return np.bincount([label for image in images for label in table.labels[image]], minlength=len(table.classes))


def _warnings(config: ClassificationConfig, table: LabelTable, chosen: Selection) -> tuple[str, ...]:
    warnings = []
    if table.foreign:
        warnings.append(f"{listed(table.foreign, 'file')}: of a kind that is not read; convert them")
    mark = config.data.label_separator
    joined = [name for name in table.classes if mark in name]
    if joined and config.criterion.type not in _SEVERAL_LABELS and config.data.labels_file is not None:
        what = f"labels such as {joined[0]!r} are one class each"
        warnings.append(
            f"{what}; several labels of an image, separated by {mark!r}, need criterion.type=bce_with_logits"
        )
    warnings += left_out(table.skipped, "image", "row", "folder")
    warnings += aside(config.data.images_dir, config.data.labels_file)
    if table.twice:
        warnings.append(f"{len(table.twice)} images are trained and validated on, such as {table.twice[0]}")
    everything = _class_sizes(table, range(len(table.images)))
    warnings += doubtful_classes(dict(zip(table.classes, everything.tolist(), strict=True)))
    large, small = int(np.argmax(everything)), int(np.argmin(everything))
    if everything[large] > _UNEVEN * everything[small]:
        many, few = (f"{table.classes[place]} has {everything[place]}" for place in (large, small))
        times = everything[large] / max(1, everything[small])
        warnings.append(f"uneven classes: {many} images, {few} ({times:.3g}×); f1_macro weighs all classes alike")
    if not config.training.overfit:
        sides = {"train on": chosen.train, "validate on": chosen.val}
        lacking = {use: np.flatnonzero(_class_sizes(table, indices) == 0) for use, indices in sides.items()}
        warnings += absent_classes("image", {use: [table.classes[n] for n in them] for use, them in lacking.items()})
    return (*warnings, *image_warnings(config.data, table.images))
