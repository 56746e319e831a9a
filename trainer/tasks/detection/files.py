"""Detection data as files: folders of images and COCO JSON. Imports no torch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from trainer.checkpoints.weight_files import require_model
from trainer.config.registry import load
from trainer.data import builtin_scenes
from trainer.data.class_names import doubtful_classes
from trainer.data.datasets_folder import unpacked
from trainer.data.image_contents import image_warnings, rendering_of
from trainer.data.image_folders import left_out, table_fingerprint
from trainer.data.scenes.spec import ScenesSpec
from trainer.data.splits import Selection, asked_too_much, select
from trainer.errors import DataError, listed
from trainer.store.arrays import OnProgress
from trainer.store.image_cache import Images, shared_images
from trainer.task.defaults import FilesDefaults
from trainer.task.library_checks import run_checks
from trainer.task.protocols import LOSS, DataSummary, Metric
from trainer.tasks.detection.coco import Box, CocoFile, Faults, Objects, named_images, read_coco
from trainer.tasks.detection.config import DetectionConfig


@dataclass(frozen=True)
class DetectionTable:
    """Usable images in the order of their file; of two files, the last `held_out` are the validation images.

    `classes` are the categories in the order of their ids: a label is a place in it. `twice` are images that
    both files name.
    """

    images: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]
    objects: tuple[Objects, ...]
    classes: tuple[str, ...]
    held_out: int
    skipped: int
    twice: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Source:
    """One annotation file with its folder of images and the key that named it."""

    key: str
    annotations: Path
    images_dir: Path


def scenes_spec(config: DetectionConfig) -> ScenesSpec | None:
    """The specification of the built-in data, where no files are named."""
    return builtin_scenes.scenes_spec(config.data.scenes, config.data.images_dir is not None)


def sources(config: DetectionConfig, progress: OnProgress | None = None) -> tuple[Source, ...]:
    """One file of all images, or one to train and one to validate on; built-in scenes are drawn if necessary."""
    data, spec = config.data, scenes_spec(config)
    if spec is not None:
        files = builtin_scenes.drawn_files(spec, progress)
        return (Source("data.annotations", files.annotations, files.images_dir),)
    assert data.images_dir is not None, "the configuration checks that it comes with the annotations"
    if data.annotations is None and data.train_annotations is None:
        return _of_tables(data.images_dir)
    if data.annotations is not None:
        return (Source("data.annotations", data.annotations, data.images_dir),)
    assert data.train_annotations is not None, "as above"
    assert data.val_annotations is not None, "as above"
    return (
        Source("data.train_annotations", data.train_annotations, data.images_dir),
        Source("data.val_annotations", data.val_annotations, data.val_images_dir or data.images_dir),
    )


def _of_tables(folder: Path) -> tuple[Source, ...]:
    """The boxes in a folder of the `datasets` library, with its split where it has one."""
    found = unpacked(folder)
    if not found.boxes:
        raise DataError(f"{folder}: its tables have {found.words}, but no boxes")
    return tuple(Source("data.images_dir", boxes, found.images_dir) for boxes in found.boxes)


def read_table(config: DetectionConfig, progress: OnProgress | None = None) -> DetectionTable:
    """The usable images with their boxes; `DataError` names what is wrong by file and id."""
    named = sources(config, progress)
    for source in named:
        if not source.annotations.is_file():
            raise DataError(f"{source.annotations}: no such annotation file ({source.key})")
        if not source.images_dir.is_dir():
            key = "data.val_images_dir" if source.images_dir == config.data.val_images_dir else "data.images_dir"
            raise DataError(f"{source.images_dir}: no such folder of images ({key})")
    prints = tuple(
        table_fingerprint(source.images_dir, source.annotations, partial(named_images, source.annotations))
        for source in named
    )
    return _read(named, prints, config.data.bad_samples == "skip")


@lru_cache(maxsize=4)
def _read(named: tuple[Source, ...], prints: tuple[str, ...], skip: bool) -> DetectionTable:
    faults = Faults()
    files = [
        read_coco(source.annotations, source.images_dir, stamp, skip, faults)
        for source, stamp in zip(named, prints, strict=True)
    ]
    if len(faults) and not skip:
        raise DataError(faults.message())
    for source, file in zip(named, files, strict=True):
        if not file.names:
            what = f"no usable image in it ({len(faults)} left out)"
            raise DataError("\n".join([f"{source.annotations}: {what}", *faults.lines()]))
    categories = _united([file.categories for file in files], named)
    label_of = {number: label for label, number in enumerate(categories)}
    images = tuple(s.images_dir / name for s, file in zip(named, files, strict=True) for name in file.names)
    return DetectionTable(
        images=images,
        sizes=tuple(size for file in files for size in file.sizes),
        objects=tuple(_objects(boxes, label_of) for file in files for boxes in file.boxes),
        classes=tuple(categories.values()),
        held_out=len(files[1].names) if len(files) == 2 else 0,
        skipped=len(faults),
        twice=_twice(named, files),
        fingerprint=prints[0] if len(prints) == 1 else hashlib.sha256("".join(prints).encode()).hexdigest()[:16],
    )


def _united(each: Sequence[Mapping[Any, str]], named: Sequence[Source]) -> dict[Any, str]:
    """All categories by id, in that order; an id must have the same meaning in both files."""
    united: dict[Any, str] = {}
    for source, categories in zip(named, each, strict=True):
        for number, name in categories.items():
            if united.setdefault(number, name) != name:
                raise DataError(f"{source.annotations}: category {number} is {name}, but {united[number]} elsewhere")
    if len(set(united.values())) < len(united):
        raise DataError(f"{named[-1].annotations}: a category has another id than in {named[0].annotations}")
    return dict(sorted(united.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _objects(boxes: Sequence[Box], label_of: Mapping[Any, int]) -> Objects:
    return Objects(
        boxes=np.array([box for _, box, _, _ in boxes], dtype=np.float64).reshape(-1, 4),
        labels=np.array([label_of[category] for category, _, _, _ in boxes], dtype=np.int64),
        crowd=np.array([crowd for _, _, crowd, _ in boxes], dtype=np.bool_),
        areas=np.array([area for _, _, _, area in boxes], dtype=np.float64),
    )


def _twice(named: Sequence[Source], files: Sequence[CocoFile]) -> tuple[str, ...]:
    if len(files) < 2 or named[0].images_dir != named[1].images_dir:
        return ()
    held_out = set(files[1].names)
    return tuple(name for name in files[0].names if name in held_out)


def open_images(
    config: DetectionConfig, table: DetectionTable, used: Iterable[int], side: int, progress: OnProgress | None = None
) -> Images:
    """The images of a run at `side` pixels, larger by `source_scale`."""
    data = config.data
    rendering = rendering_of(data, table.images)
    size_px = round(side * data.source_scale)
    return shared_images(table.images, used, size_px, data.cache_gb, progress, rendering=rendering)


class DetectionFiles(FilesDefaults):
    """`TaskFiles` of detection."""

    @staticmethod
    def metric(config: DetectionConfig) -> Metric:
        return Metric("map", "mAP", "maximize", 1.0) if config.metrics.map else LOSS

    @staticmethod
    def check(config: DetectionConfig) -> DataSummary:
        if config.model.pretrained and config.checkpoint.resume is None and config.checkpoint.weights is None:
            require_model("model.pretrained", config.model.pretrained)
        spec = scenes_spec(config)
        if spec is not None:  # known before they are drawn
            chosen, skipped, stamp = select(config, spec.images), 0, spec.key
            warnings: tuple[str, ...] = ()
            targets = ""
            description = builtin_scenes.scenes_words(spec, "data.images_dir and data.annotations")
        else:
            table = read_table(config)
            chosen = select(config, len(table.images), table.held_out)
            require_boxes(table, chosen)
            skipped, stamp = table.skipped, table.fingerprint
            warnings, targets = _warnings(config, table), f"boxes of {listed(table.classes, 'class')}"
            boxes = sum(len(objects) for objects in table.objects)
            description = f"{len(table.images)} images, {boxes} boxes of {len(table.classes)} classes from "
            named = sources(config)
            inside = named[0].key == "data.images_dir"
            description += " and ".join(
                [str(config.data.images_dir)] if inside else [str(s.annotations) for s in named]
            )
        warned = (*asked_too_much(config, chosen), *warnings)
        return chosen.summary(description, stamp, skipped, warned, targets=targets)

    @staticmethod
    def try_out(config: DetectionConfig) -> None:
        """`ConfigError` for a published model that cannot be loaded, or is another; read from its description."""
        if config.model.pretrained and config.checkpoint.resume is None and config.checkpoint.weights is None:
            require = load("trainer.tasks.detection.model:require_pretrained")
            run_checks([(["detector", config.model.name, config.model.pretrained], partial(require, config.model))])

    @staticmethod
    def prepare(config: DetectionConfig, progress: OnProgress) -> None:
        table = read_table(config, progress)
        chosen = select(config, len(table.images), table.held_out)
        open_images(config, table, chosen.used, config.data.image_size, progress)


def require_boxes(table: DetectionTable, chosen: Selection) -> None:
    """`DataError` without a single box: nothing to learn, and mAP is undefined."""
    for side, indices in (("training", chosen.train), ("validation", chosen.val)):
        if not any((~table.objects[int(index)].crowd).any() for index in indices):
            raise DataError(f"none of the {len(indices)} {side} images has a box (crowds do not count)")


def _warnings(config: DetectionConfig, table: DetectionTable) -> tuple[str, ...]:
    warnings = left_out(table.skipped, "image", "box")
    if table.twice:
        warnings.append(f"{len(table.twice)} images are trained and validated on, such as {table.twice[0]}")
    boxes = Counter(table.classes[label] for objects in table.objects for label in objects.labels.tolist())
    warnings += doubtful_classes({name: boxes[name] for name in table.classes})
    most = max(int((~objects.crowd).sum()) for objects in table.objects)
    if most > config.model.num_queries and not config.model.pretrained:
        warnings.append(
            f"an image has {most} boxes, the model finds at most model.num_queries={config.model.num_queries}"
        )
    return (*warnings, *image_warnings(config.data, table.images))
