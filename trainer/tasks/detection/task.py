"""The training half of detection: rows, model, loss, mAP, predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import box_convert
from torchvision.transforms.v2.functional import normalize

from trainer.data.image_contents import rendering_of
from trainer.data.predicted import rows_of_images
from trainer.data.splits import Selection, select
from trainer.data.tensors import IMAGENET_MEAN, IMAGENET_STD
from trainer.errors import DataError
from trainer.store.arrays import OnProgress
from trainer.store.image_files import decode, header_of
from trainer.task.batches import Batch, part_sizes
from trainer.task.data_identity import DataIdentity, identity_of
from trainer.task.defaults import TaskDefaults
from trainer.task.pictures import Census, DataPicture, Marked, pixels_of
from trainer.task.protocols import Parts, Rows, Scores
from trainer.tasks.detection.augment import Picture, Sample, framed
from trainer.tasks.detection.coco_map import coco_metrics
from trainer.tasks.detection.config import DetectionConfig
from trainer.tasks.detection.detectors import DETECTORS
from trainer.tasks.detection.files import DetectionFiles, DetectionTable, open_images, read_table, require_boxes
from trainer.tasks.detection.model import BACKBONE, architecture_of, build_detector, rebuild_detector
from trainer.tasks.detection.predictions import Detected, detections, sample_of
from trainer.tasks.detection.rows import Annotated, TrainRows, ValRows, parted, place_part

# The last layer's losses under the library's names; those of the layers before it are not reported.
_PARTS = {
    "loss_vfl": "val_loss_class",
    "loss_ce": "val_loss_class",
    "loss_bbox": "val_loss_box",
    "loss_giou": "val_loss_giou",
}


class DetectionTask(TaskDefaults):
    """`Task` of detection; without data its classes and its model's sizes come from a checkpoint's `extras`."""

    def __init__(self, config: DetectionConfig, extras: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.row = DETECTORS[config.model.name]
        self.classes: list[str] = list(extras["classes"]) if extras else []
        self.architecture: str = extras["architecture"] if extras else ""
        self.scored_by_map = DetectionFiles.metric(config).name == "map"

    def open_rows(
        self, everything: bool = False, image_size: int | None = None, progress: OnProgress | None = None
    ) -> Rows:
        table = self._labelled(read_table(self.config))
        chosen = select(self.config, len(table.images), table.held_out)
        require_boxes(table, chosen)
        data = self.config.data
        augment = None if self.config.training.overfit else data.augment
        side = image_size or data.image_size
        shown = np.arange(len(table.images)) if everything else chosen.val
        images = open_images(self.config, table, shown if everything else chosen.used, side, progress)
        annotated = Annotated(images, table.sizes, table.objects)
        return Rows(
            TrainRows(chosen.train, annotated, side, data.resize, self.config.seed, augment),
            ValRows(shown, annotated, side, data.resize),
            images.cached,
            (images.note,),
            images.rendering.value_range,
            identity=partial(self._identity, table, chosen),
        )

    def _identity(self, table: DetectionTable, chosen: Selection) -> DataIdentity:
        def truth() -> Iterable[object]:
            for one in table.objects:
                yield [self.classes[label] for label in one.labels], one.boxes.tolist(), one.crowd.tolist()

        return identity_of(table.fingerprint, table.images, truth, chosen.train_split, chosen.val)

    def build_model(self, weights: bool) -> nn.Module:
        if not weights and self.architecture:
            return rebuild_detector(self.config.model.name, self.architecture)
        assert self.classes, "rows are opened, or extras given, before anything else"
        model = build_detector(self.config, self.classes)
        self.architecture = architecture_of(model, bool(self.config.model.pretrained))
        return model

    def parts(self, model: nn.Module) -> Parts:
        return Parts.of(model, pretrained=model.get_submodule(BACKBONE).parameters())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The library's loss, a mean over boxes, times the boxes.

        A sum that splits into images for RT-DETR; of DETR's class loss (a mean over queries) and of D-FINE's
        distillation it is close to one.
        """
        mean: Tensor = model(self._pixels(batch["images"]), labels=targets(batch)).loss
        total: Tensor = mean * batch["weight"]
        return total

    def split(self, batch: Batch, largest: int) -> Sequence[Batch]:
        """In parts; where the loss is only close to a sum over images (see `loss`), or boxes are noised, its parts
        add up closely rather than exactly."""
        return parted(batch, part_sizes(len(batch["images"]), largest))

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Scores:
        sums: Counter[str] = Counter()
        boxes = 0
        truth: list[np.ndarray] = []
        predicted: list[Detected] = []
        files: list[str] = []
        for batch in batches:
            output = model(self._pixels(batch["images"]), labels=targets(batch))
            sums.update(loss_sums(output, batch["weight"]))
            boxes += sum(batch["counts"])
            predicted += detections(
                output.logits, output.pred_boxes, batch["places"], batch["sizes"], self.row.no_object
            )
            truth += [part.cpu().numpy() for part in batch["truth"].split(batch["truth_counts"])]
            files += batch["files"]
        metrics = {name: value / max(1, boxes) for name, value in sums.items()}
        if self.scored_by_map:
            metrics |= coco_metrics(truth, predicted, self.classes, self.config.evaluation.per_class)
        few = self.config.evaluation.samples
        return Scores(
            metrics, [self._sample(*one) for one in zip(files[:few], truth[:few], predicted[:few], strict=True)]
        )

    def predict(self, model: nn.Module, folder: Path, device: Any) -> Iterable[Mapping[str, str]]:
        """A row for each predicted box; an image without one has one row of empty cells."""
        data, threshold, rendering = (
            self.config.data,
            self.config.evaluation.score_threshold,
            rendering_of(self.config.data),
        )
        nothing = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)

        def read(name: str) -> tuple[tuple[int, int], Sample]:
            pixels = decode(folder / name, round(data.image_size * data.source_scale), rendering=rendering)
            width, height = header_of(folder / name)[:2]
            return (width, height), framed(Picture(pixels, *nothing, width / height), data.image_size, data.resize)

        def found(names: Sequence[str], read: Sequence[tuple[tuple[int, int], Sample]]) -> list[list[dict[str, str]]]:
            sizes, samples = zip(*read, strict=True)
            predicted = self._found(model, sizes, samples, device)
            return [self._lines(name, one.above(threshold)) for name, one in zip(names, predicted, strict=True)]

        return rows_of_images(folder, self.config, read, found)

    def pictures(self, batch: Batch) -> Sequence[DataPicture]:
        """Images with their boxes."""
        counts = batch["counts"]
        each = zip(
            pixels_of(batch["images"]),
            box_convert(batch["boxes"], "cxcywh", "xyxy").split(counts),
            batch["labels"].split(counts),
            batch.get("files", [""] * len(counts)),
            strict=True,
        )
        shown = []
        for pixels, boxes, labels, file in each:
            named = zip(boxes.tolist(), labels.tolist(), strict=True)
            marked = [Marked((box[0], box[1], box[2], box[3]), self.classes[label]) for box, label in named]
            shown.append(DataPicture(pixels, [Path(file).name] if file else [], marked))
        return shown

    def census(self) -> Census:
        """Boxes by class; crowds do not count."""
        table = self._labelled(read_table(self.config))
        chosen = select(self.config, len(table.images), table.held_out)
        boxes: list[Counter[int]] = []
        for side in (chosen.train, chosen.val):
            boxes.append(Counter())
            for image in side.tolist():
                objects = table.objects[image]
                boxes[-1].update(objects.labels[~objects.crowd].tolist())
        counts = {name: (boxes[0][label], boxes[1][label]) for label, name in enumerate(self.classes)}
        return Census(counts, [table.images[image] for image in chosen.used.tolist()])

    def extras(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "architecture": self.architecture}

    def _labelled(self, table: DetectionTable) -> DetectionTable:
        """The table with the labels of the model, which after training has names for its classes."""
        if not self.classes:
            self.classes = list(table.classes)
        strange = sorted(set(table.classes) - set(self.classes))
        if strange:
            raise DataError(f"the model knows no class {', '.join(strange)}, only {', '.join(self.classes)}")
        if list(table.classes) == self.classes:
            return table
        label_of = np.array([self.classes.index(name) for name in table.classes], dtype=np.int64)
        return replace(table, objects=tuple(replace(item, labels=label_of[item.labels]) for item in table.objects))

    def _pixels(self, images: Tensor) -> Tensor:
        """uint8 [batch, 3, side, side] → float, scaled as the detector expects."""
        scaled = images.float() / 255.0
        normalised: Tensor = normalize(scaled, IMAGENET_MEAN, IMAGENET_STD) if self.row.imagenet else scaled
        return normalised

    def _found(
        self, model: nn.Module, sizes: Sequence[tuple[int, int]], samples: Sequence[Sample], device: Any
    ) -> list[Detected]:
        """What is in framed images whose files have these widths and heights."""
        images = torch.stack([sample.pixels for sample in samples]).to(device)
        places = torch.tensor([place_part(sample, self.config.data.image_size) for sample in samples], device=device)
        output = model(self._pixels(images))
        return detections(
            output.logits, output.pred_boxes, places, torch.tensor(list(sizes), device=device), self.row.no_object
        )

    def _lines(self, name: str, predicted: Detected) -> list[dict[str, str]]:
        columns = ("x", "y", "w", "h")
        if not len(predicted.scores):
            return [{"image": name, "label": "", "score": "", **dict.fromkeys(columns, "")}]
        rows = []
        for box, label, score in zip(predicted.boxes, predicted.labels, predicted.scores, strict=True):
            places = {column: f"{value:.1f}" for column, value in zip(columns, box, strict=True)}
            rows.append({"image": name, "label": self.classes[label], "score": f"{score:.4f}", **places})
        return rows

    def _sample(self, file: str, truth: np.ndarray, predicted: Detected) -> dict[str, Any]:
        """A sample with the boxes above the threshold, or else the most likely one."""
        shown = predicted.above(min(self.config.evaluation.score_threshold, float(predicted.scores[0])))
        return sample_of(
            file,
            [(self.classes[int(row[4])], row[:4]) for row in truth if not row[5]],
            [
                (self.classes[n], box, score)
                for n, box, score in zip(shown.labels, shown.boxes, shown.scores, strict=True)
            ],
        )


def targets(batch: Batch) -> list[dict[str, Tensor]]:
    """The targets of the library's losses for each image: `class_labels` [n] and `boxes` as cxcywh in [0, 1] [n, 4]."""
    pairs = zip(batch["labels"].split(batch["counts"]), batch["boxes"].split(batch["counts"]), strict=True)
    return [{"class_labels": labels, "boxes": boxes} for labels, boxes in pairs]


def loss_sums(output: Any, weight: int) -> dict[str, float]:
    """The loss of a batch and its parts, each times the batch's weight."""
    named = {_PARTS[name]: value for name, value in output.loss_dict.items() if name in _PARTS}
    return {name: float(value) * weight for name, value in {"val_loss": output.loss, **named}.items()}
