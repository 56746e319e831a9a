"""The training half of classification: rows, model, loss, accuracy, predictions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.data.image_contents import rendering_of
from trainer.data.predicted import rows_of_images
from trainer.data.splits import Selection, select
from trainer.errors import DataError
from trainer.learning.criterion import summed_loss, with_reduction
from trainer.learning.randomness import undisturbed, uniforms
from trainer.store.arrays import OnProgress
from trainer.store.image_files import decode
from trainer.task.batches import Batch, part_sizes, parted, whole_weight
from trainer.task.data_identity import DataIdentity, identity_of
from trainer.task.defaults import TaskDefaults
from trainer.task.pictures import Census, DataPicture, pixels_of
from trainer.task.protocols import Parts, Rows, Scores
from trainer.tasks.classification.backbones import (
    build_backbone,
    has_fixed_size,
    head_of,
    other_size,
    statistics_of,
)
from trainer.tasks.classification.config import ClassificationConfig
from trainer.tasks.classification.files import LabelTable, checked_classes, read_table
from trainer.tasks.classification.rows import VAL_STREAM, Labelled, TrainRows, ValRows
from trainer.tasks.classification.scores import MOST_CLASSES, matrix_of, one_label_scores, several_label_scores
from trainer.tasks.classification.source_images import open_source_images, source_px
from trainer.tasks.classification.transforms import as_tensor, build_chains, normalisation_of


class ClassificationTask(TaskDefaults):
    """`Task` of classification; without data its classes come from a checkpoint's `extras`."""

    def __init__(self, config: ClassificationConfig, extras: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.classes: list[str] = list(extras["classes"]) if extras else []
        self.several: bool = extras["several"] if extras else False
        self.built_px: int = extras["built_px"] if extras else 0  # side of the images that the model was built for
        self._opened_px = 0
        self.statistics = statistics_of(config.model)

    def open_rows(
        self, everything: bool = False, image_size: int | None = None, progress: OnProgress | None = None
    ) -> Rows:
        config, data = self.config, self.config.data
        table = read_table(config)
        labels = self._labels(table)
        chosen = select(config, len(table.images), table.held_out)
        side = image_size or data.image_size
        if self.built_px and side != self.built_px and has_fixed_size(config.model):
            raise other_size(config.model, self.built_px, side)
        self._opened_px = side
        shown = np.arange(len(table.images)) if everything else chosen.val
        used = shown if everything else chosen.used
        pictures = open_source_images(config, table.images, used, side, progress)
        chains = build_chains(data, side, source_px(config, side), config.model.in_channels)
        labelled = Labelled(pictures, labels, len(self.classes), self.several, config.model.in_channels)
        return Rows(
            TrainRows(chosen.train, labelled, chains, self.statistics, config),
            ValRows(shown, labelled, chains),
            pictures.cached,
            pictures.notes,
            pictures.images.rendering.value_range,
            identity=partial(self._identity, table, chosen),
        )

    def _identity(self, table: LabelTable, chosen: Selection) -> DataIdentity:
        def truth() -> Iterable[object]:
            return ([table.classes[label] for label in labels] for labels in table.labels)

        sides = chosen.train_split, chosen.val
        return identity_of(table.fingerprint, table.images, truth, *sides, apart=("data.backgrounds_dir",))

    def build_model(self, weights: bool) -> nn.Module:
        assert self.classes, "rows are opened, or extras given, before anything else"
        self.built_px = self.built_px or self._opened_px or self.config.data.image_size
        return build_backbone(self.config.model, len(self.classes), self.built_px, weights)

    def parts(self, model: nn.Module) -> Parts:
        head = head_of(model)
        return Parts.of(model, pretrained=(part for part in model.parameters() if id(part) not in head))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        images = self.statistics.applied(batch["images"])
        loss = self._loss_of(model(images), batch["labels"], self.config.criterion.label_smoothing)
        return with_reduction(loss, whole_weight(batch), self.config.criterion.reduction)

    def split(self, batch: Batch, largest: int) -> Sequence[Batch]:
        return parted(batch, part_sizes(batch["weight"], largest))

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Scores:
        total = torch.zeros((), dtype=torch.float64)
        probabilities: list[Tensor] = []
        truth: list[Tensor] = []
        files: list[str] = []
        for batch in batches:
            logits = model(self.statistics.applied(batch["images"]))
            total += self._loss_of(logits, batch["labels"], 0.0).double().cpu()
            probabilities.append(self._probabilities(logits).cpu())
            truth.append(batch["labels"].cpu())
            files += batch["files"]
        return self._scores(
            float(total) / len(files), torch.cat(probabilities).numpy(), torch.cat(truth).numpy(), files
        )

    def predict(self, model: nn.Module, folder: Path, device: Any) -> Iterable[Mapping[str, str]]:
        """The most likely class with its probability; with several labels, those above the threshold."""
        config, side = self.config, self.built_px or self.config.data.image_size
        side = side if has_fixed_size(config.model) else config.data.image_size
        source = source_px(config, side)
        chains = build_chains(config.data, side, source, config.model.in_channels)
        rendering, separator = rendering_of(config.data), config.data.label_separator
        numbers = itertools.count()

        def read(name: str) -> Tensor:
            seed = uniforms(0, VAL_STREAM, np.array([next(numbers)]), 1)[0, 0]
            pixels = as_tensor(decode(folder / name, source, config.model.in_channels, rendering))
            with undisturbed():
                return chains.framed(pixels, chains.val, seed)

        def found(names: Sequence[str], pictures: Sequence[Tensor]) -> list[list[dict[str, str]]]:
            logits = model(self.statistics.applied(torch.stack(list(pictures)).to(device)))
            rows = []
            for name, row in zip(names, self._probabilities(logits).cpu().numpy(), strict=True):
                labels, scores = self._answer(row)
                shown = separator.join(f"{score:.4f}" for score in scores)
                rows.append([{"image": name, "label": separator.join(labels), "score": shown}])
            return rows

        return rows_of_images(folder, config, read, found)

    def pictures(self, batch: Batch) -> Sequence[DataPicture]:
        """Images with their labels; of mixed ones, with the share of each."""
        mean, std = normalisation_of(self.config.data.post_transforms) or (self.statistics.mean, self.statistics.std)
        plain = not batch["images"].is_floating_point() or (batch["images"].min() >= 0 and batch["images"].max() <= 1)
        pixels = pixels_of(batch["images"]) if plain else pixels_of(batch["images"], mean, std)
        files = batch.get("files", [""] * len(pixels))
        return [
            DataPicture(image, [*self._named(labels), *([Path(file).name] if file else [])])
            for image, labels, file in zip(pixels, batch["labels"], files, strict=True)
        ]

    def census(self) -> Census:
        table = read_table(self.config)
        chosen = select(self.config, len(table.images), table.held_out)
        sides = [
            np.bincount([label for image in side for label in table.labels[image]], minlength=len(table.classes))
            for side in (chosen.train, chosen.val)
        ]
        counts = {name: (int(sides[0][n]), int(sides[1][n])) for n, name in enumerate(table.classes)}
        return Census(counts, [table.images[image] for image in chosen.used.tolist()])

    def _named(self, labels: Tensor) -> list[str]:
        """The classes of one image, by name."""
        if not labels.is_floating_point():
            return [self.classes[int(labels)]]
        shares = {self.classes[n]: float(labels[n]) for n in labels.nonzero().flatten().tolist()}
        return [name if share == 1.0 else f"{name} ({share:.0%})" for name, share in shares.items()] or ["no label"]

    def extras(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "several": self.several, "built_px": self.built_px}

    def _labels(self, table: LabelTable) -> Sequence[tuple[int, ...]]:
        """The labels of a table as the class numbers of the model, which after training has names for them."""
        if not self.classes:
            checked_classes(self.config, table.classes, table.several)
            self.classes, self.several = list(table.classes), table.several
        strange = sorted(set(table.classes) - set(self.classes))
        if strange:
            what = f"the model knows no class {', '.join(strange)}, only {', '.join(self.classes)}"
            raise DataError(f"{what}; a run on other classes starts from it with model.weights=CHECKPOINT")
        if table.several and not self.several:
            raise DataError("an image has several labels, or none, but the model was trained on one label each")
        number = [self.classes.index(name) for name in table.classes]
        return [tuple(number[label] for label in labels) for labels in table.labels]

    def _probabilities(self, logits: Tensor) -> Tensor:
        return logits.float().sigmoid() if self.several else logits.float().softmax(dim=1)

    def _loss_of(self, logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
        """The loss summed over images; for losses by class, with a mean over classes."""
        kind = self.config.criterion.type
        if kind == "cross_entropy":
            return summed_loss(kind, logits, labels, label_smoothing=label_smoothing)
        target = labels if labels.is_floating_point() else F.one_hot(labels, logits.shape[1]).float()
        if kind == "bce":
            logits = logits.float().sigmoid()
        elif kind != "bce_with_logits":
            logits = self._probabilities(logits)
        return summed_loss(kind, logits, target) / logits.shape[1]

    def _scores(self, loss: float, probabilities: np.ndarray, truth: np.ndarray, files: Sequence[str]) -> Scores:
        evaluation, matrix = self.config.evaluation, None
        if self.several:
            metrics = several_label_scores(probabilities, truth, evaluation.threshold)
        else:
            metrics, table = one_label_scores(probabilities, truth)
            if evaluation.confusion_matrix and len(self.classes) <= MOST_CLASSES:
                matrix = matrix_of(table, self.classes)
        if not self.config.metrics.accuracy:
            metrics = {}
        few = zip(files[: evaluation.samples], truth, probabilities, strict=False)
        samples = [self._sample(file, labels, row) for file, labels, row in few]
        return Scores({"val_loss": loss, **metrics}, samples, matrix)

    def _answer(self, row: np.ndarray) -> tuple[list[str], list[float]]:
        """The predicted classes and their probabilities, the most likely first."""
        order = [int(place) for place in np.argsort(-row, kind="stable")]
        taken = [n for n in order if row[n] >= self.config.evaluation.threshold] if self.several else order[:1]
        return [self.classes[n] for n in taken], [float(row[n]) for n in taken]

    def _sample(self, file: str, labels: np.ndarray, row: np.ndarray) -> dict[str, Any]:
        names, scores = self._answer(row)
        true = [self.classes[n] for n in np.flatnonzero(labels)] if self.several else [self.classes[int(labels)]]
        predictions = [f"{name} ({score:.0%})" for name, score in zip(names, scores, strict=True)]
        return {"image": file, "references": true or ["no label"], "predictions": predictions or ["no label"]}
