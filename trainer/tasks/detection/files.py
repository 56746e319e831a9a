"""Detection data as files: images, boxes and classes of all sources together. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from trainer.checkpoints.weight_files import require_model
from trainer.config.registry import load
from trainer.data import builtin_scenes
from trainer.data.class_names import absent_classes, doubtful_classes
from trainer.data.image_contents import image_warnings, rendering_of
from trainer.data.image_folders import SUFFIXES, fingerprint, left_out, stats_below, stats_of, table_fingerprint
from trainer.data.scenes.spec import ScenesSpec
from trainer.data.splits import Indices, Selection, asked_too_much, select
from trainer.errors import DataError, counted, listed
from trainer.store.arrays import OnProgress
from trainer.store.cache_folder import remembered
from trainer.store.image_cache import Images, shared_images
from trainer.task.defaults import FilesDefaults
from trainer.task.library_checks import run_checks, section
from trainer.task.protocols import LOSS, DataSummary, Metric
from trainer.tasks.detection.coco import Box, CocoFile, Faults, Objects, checked, coco_content, named_images
from trainer.tasks.detection.config import DetectionConfig
from trainer.tasks.detection.content import Content, Source
from trainer.tasks.detection.conventions import Convention
from trainer.tasks.detection.model_settings import SIZELESS
from trainer.tasks.detection.object_lines import read_object_lines
from trainer.tasks.detection.sources import KINDS, named_sources
from trainer.tasks.detection.voc import read_voc
from trainer.tasks.detection.yolo import read_yolo

_READING = 1  # increased whenever a reader would find other boxes in the same files
# How each kind of source becomes the lists of COCO JSON. To add one: a row here, and where `sources` finds it.
READERS: Mapping[str, Callable[[Source], Content]] = {
    "coco": lambda source: coco_content(source.annotations),
    "yolo": read_yolo,
    "voc": read_voc,
    "objects": read_object_lines,
}


@dataclass(frozen=True)
class DetectionTable:
    """Usable images in the order of their source; of two, the last `held_out` are the validation images.

    `classes` are the categories in the order of their ids: a label is a place in it. `twice` are images that
    both sources name; `notes` are warnings.
    """

    images: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]
    objects: tuple[Objects, ...]
    classes: tuple[str, ...]
    held_out: int
    skipped: int
    twice: tuple[str, ...]
    notes: tuple[str, ...]
    fingerprint: str

    @property
    def boxes(self) -> int:
        """The number of boxes that are no crowds."""
        return sum(int((~objects.crowd).sum()) for objects in self.objects)


def scenes_spec(config: DetectionConfig) -> ScenesSpec | None:
    """The specification of the built-in data, where no files are named."""
    data = config.data
    named = data.images_dir is not None or data.annotations is not None or data.train_annotations is not None
    return builtin_scenes.scenes_spec(data.scenes, named)


def sources(config: DetectionConfig, progress: OnProgress | None = None) -> tuple[Source, ...]:
    """One source of all images, or one to train and one to validate on; built-in scenes are drawn if necessary."""
    spec = scenes_spec(config)
    if spec is None:
        return named_sources(config.data)
    files = builtin_scenes.drawn_files(spec, progress)
    return (Source("data.annotations", "coco", files.annotations, files.images_dir),)


def read_table(config: DetectionConfig, progress: OnProgress | None = None) -> DetectionTable:
    """The usable images with their boxes; `DataError` names what is wrong by file and id."""
    return _table(config, sources(config, progress))


def _table(config: DetectionConfig, named: tuple[Source, ...]) -> DetectionTable:
    said = Convention(config.data.box_format, config.data.box_units)
    return _read(named, tuple(map(_fingerprint, named)), said, config.data.bad_samples == "skip")


def _fingerprint(source: Source) -> str:
    folder, annotations = source.images_dir, source.annotations
    if not annotations.is_dir():
        named = named_images if source.kind == "coco" else _object_names
        return table_fingerprint(folder, annotations, partial(named, annotations))
    files = sorted(stats_of(annotations, (file for _, file in source.pairs if file)))
    known = all(image for image, _ in source.pairs)
    images = stats_of(folder, (image for image, _ in source.pairs)) if known else stats_below(folder, SUFFIXES)
    return fingerprint(images, json.dumps([files, source.classes, source.values]))


def _object_names(path: Path) -> Sequence[str]:
    content = read_object_lines(Source("", "objects", path, path.parent))
    return [entry["file_name"] for entry in content.images]


@lru_cache(maxsize=4)
def _read(named: tuple[Source, ...], prints: tuple[str, ...], said: Convention, skip: bool) -> DetectionTable:
    faults = Faults()
    files = [
        checked(_content(source, stamp), source, stamp, said, skip, faults)
        for source, stamp in zip(named, prints, strict=True)
    ]
    if faults.fatal or (len(faults) and not skip):
        raise DataError(faults.message())
    for source, file in zip(named, files, strict=True):
        if not file.names:
            what = f"no usable image in it ({len(faults)} left out)"
            raise DataError("\n".join([f"{source.annotations}: {what}", *faults.lines()]))
    categories = _united(files, named)
    label_of = {number: label for label, number in enumerate(categories)}
    images = tuple(s.images_dir / name for s, file in zip(named, files, strict=True) for name in file.names)
    return DetectionTable(
        images=images,
        sizes=tuple(size for file in files for size in file.sizes),
        objects=tuple(_objects(boxes, label_of) for file in files for boxes in file.boxes),
        classes=tuple(categories.values()),
        held_out=len(files[1].names) if len(files) == 2 else 0,
        skipped=len(faults),
        twice=_twice(images, len(files[0].names)),
        notes=tuple(dict.fromkeys(note for file in files for note in file.notes)),
        fingerprint=prints[0] if len(prints) == 1 else hashlib.sha256("".join(prints).encode()).hexdigest()[:16],
    )


def _content(source: Source, stamp: str) -> Content:
    """The content of a source. That of thousands of files is read once for each state of them."""
    read = READERS[source.kind]
    if not source.pairs:
        return read(source)
    kept = remembered("boxes", f"{stamp}-{source.kind}-{_READING}", lambda: vars(read(source)))
    return Content(**kept | {"convention": kept["convention"] and Convention(*kept["convention"])})


def _united(files: Sequence[CocoFile], named: Sequence[Source]) -> dict[Any, str]:
    """The categories of all files by id, in that order; an id must have the same meaning in all of them.

    One that no annotation uses is left out where it is only a group of others, or has the name of another.
    """
    united: dict[Any, str] = {}
    for source, file in zip(named, files, strict=True):
        for number, name in file.categories.items():
            if united.setdefault(number, name) != name:
                raise DataError(f"{source.annotations}: category {number} is {name}, but {united[number]} elsewhere")
    used = {number for file in files for number in file.used}
    names = {united[number] for number in used & united.keys()} | {name for file in files for name in file.parents}
    first: dict[str, Any] = {}
    for number, name in united.items():
        if number in used or (name not in names and name not in first):
            if name in first:
                _refuse_two_ids(name, first[name], number, files, named)
            first[name] = number
    kept = {number: name for name, number in first.items()}
    return dict(sorted(kept.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _refuse_two_ids(name: str, first: Any, second: Any, files: Sequence[CocoFile], named: Sequence[Source]) -> NoReturn:
    for source, file in zip(named, files, strict=True):
        if {first, second} <= file.categories.keys():
            what = f"categories {first} and {second} have one name, {name}, and both have boxes"
            raise DataError(f"{source.annotations}: {what}")
    raise DataError(f"{named[-1].annotations}: a category has another id than in {named[0].annotations}: {name}")


def _objects(boxes: Sequence[Box], label_of: Mapping[Any, int]) -> Objects:
    return Objects(
        boxes=np.array([box for _, box, _, _ in boxes], dtype=np.float64).reshape(-1, 4),
        labels=np.array([label_of[category] for category, _, _, _ in boxes], dtype=np.int64),
        crowd=np.array([crowd for _, _, crowd, _ in boxes], dtype=np.bool_),
        areas=np.array([area for _, _, _, area in boxes], dtype=np.float64),
    )


def _twice(images: Sequence[Path], trained: int) -> tuple[str, ...]:
    """The names of training images that are validation images, too."""
    held_out = set(images[trained:])
    return tuple(path.name for path in images[:trained] if path in held_out)


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
            named = sources(config)
            table = _table(config, named)
            chosen = select(config, len(table.images), table.held_out)
            require_boxes(table, chosen)
            skipped, stamp = table.skipped, table.fingerprint
            warnings, targets = _warnings(config, table, chosen), f"boxes of {listed(table.classes, 'class')}"
            description = _words(table, named)
        warned = (*asked_too_much(config, chosen), *warnings)
        return chosen.summary(description, stamp, skipped, warned, targets=targets)

    @staticmethod
    def try_out(config: DetectionConfig) -> None:
        """`ConfigError` for a detector that the library cannot build or train, or a published one that cannot be
        loaded, or is another; of this, only its description is read."""
        model = config.model
        if config.checkpoint.resume is not None or config.checkpoint.weights is not None:
            return
        if model.pretrained:
            require = load("trainer.tasks.detection.model:require_pretrained")
            run_checks([(["detector", model.name, model.pretrained], partial(require, model))])
        else:
            build = load("trainer.tasks.detection.model:require_detector")
            sizes = {key: value for key, value in section(model).items() if key not in SIZELESS}
            run_checks([(["detector", sizes], partial(build, model))])

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


def _words(table: DetectionTable, named: Sequence[Source]) -> str:
    """What was found, in one line."""
    crowds = sum(int(objects.crowd.sum()) for objects in table.objects)
    boxes = f"{table.boxes} boxes" + (f" and {counted(crowds, 'crowd')}" if crowds else "")
    places = dict.fromkeys(str(source.origin or source.annotations) for source in named)
    kinds = " and ".join(dict.fromkeys(KINDS[source.kind] for source in named))
    return f"{len(table.images)} images, {boxes} of {len(table.classes)} classes from {' and '.join(places)} ({kinds})"


def _warnings(config: DetectionConfig, table: DetectionTable, chosen: Selection) -> tuple[str, ...]:
    warnings = [*left_out(table.skipped, "image", "box"), *table.notes]
    if table.twice:
        warnings.append(f"{len(table.twice)} images are trained and validated on, such as {table.twice[0]}")
    boxes = Counter(table.classes[label] for objects in table.objects for label in objects.labels.tolist())
    warnings += doubtful_classes({name: boxes[name] for name in table.classes})
    if not config.training.overfit:
        warnings += absent_classes(
            "box", {"train on": _lacking(table, chosen.train), "validate on": _lacking(table, chosen.val)}
        )
    most = max(int((~objects.crowd).sum()) for objects in table.objects)
    if most > config.model.num_queries and not config.model.pretrained:
        warnings.append(
            f"an image has {most} boxes, the model finds at most model.num_queries={config.model.num_queries}"
        )
    return (*warnings, *image_warnings(config.data, table.images))


def _lacking(table: DetectionTable, images: Indices) -> list[str]:
    """The classes of which these images have no box."""
    objects = [table.objects[index] for index in images.tolist()]
    there = {label for one in objects for label in one.labels[~one.crowd].tolist()}
    return [name for label, name in enumerate(table.classes) if label not in there]
