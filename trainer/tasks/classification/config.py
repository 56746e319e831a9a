"""The configuration of a classification run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from trainer.config.data_settings import DataSettings
from trainer.config.section import AbsolutePath, Section, setting
from trainer.config.settings import (
    CriterionSettings,
    RunConfig,
    ScheduleName,
    SchedulerSettings,
    TrainingSettings,
    schedule_name,
)
from trainer.data.library_models import backbone_names, no_backbone
from trainer.tasks.classification.transformlist import TransformList

_LIBRARIES = ("torchvision", "timm")
_LIST = "names of torchvision.transforms.v2 with their arguments"


class AugmentationSchedule(Section):
    """The chance p that an image is augmented, after the part t of `training.schedule_epochs`.

    p(t) = end_p + (start_p − end_p) · (e^(−k·t) − e^(−k)) / (1 − e^(−k)), where k is `exponent_factor` and
    t = (epoch − 1) / (schedule_epochs − 1): start_p in the first epoch, end_p in the last; k = 0 is the straight line.
    """

    start_p: float = setting(1.0, "chance that train_augmentations apply to an image, in the first epoch", ge=0, le=1)
    end_p: float = setting(1.0, "that chance in the last epoch of training.schedule_epochs", ge=0.0, le=1.0)
    exponent_factor: float = setting(
        1.0,
        "k in p(t) = end_p + (start_p − end_p) · (e^(−kt) − e^(−k)) / (1 − e^(−k)), t from 0 to 1 over the epochs: "
        "the larger, the sooner it is near end_p; 0 is a straight line, below 0 it is late",
        ge=-50.0,
        le=50.0,
    )

    def chance(self, epoch: int, span_epochs: int) -> float:
        """The chance in an epoch, counted from 1; after the span it stays at `end_p`."""
        part = min(1.0, (epoch - 1) / (span_epochs - 1)) if span_epochs > 1 else 0.0
        factor = self.exponent_factor
        if abs(factor) < 1e-9:
            left = 1.0 - part
        else:
            left = (math.exp(-factor * part) - math.exp(-factor)) / -math.expm1(-factor)
        return self.end_p + (self.start_p - self.end_p) * left


class ClassificationData(DataSettings):
    ROLES = frozenset({"use"})
    images_dir: AbsolutePath | None = setting(
        None,
        "one folder per class; or folders train and val (training, validation, …) with one folder per class each; or, "
        "with labels_file, the folder that its file names are in; or a CSV in place of labels_file",
    )
    val_images_dir: AbsolutePath | None = setting(None, "the validation images, in the form of images_dir")
    labels_file: AbsolutePath | None = setting(
        None,
        "CSV with header image,label, or with other usual names, delimiters, and a column split; or JSON (lines) with "
        "file_name and label; without images_dir its file names are relative to its own folder",
    )
    val_labels_file: AbsolutePath | None = setting(None, "the validation images' own file of labels")
    label_separator: str = setting(
        ";", "between several labels of an image, with criterion.type bce or bce_with_logits", role="data", min_length=1
    )
    source_scale: float = setting(
        1.0, "images are kept this much larger than image_size, for sharper crops", ge=1.0, le=4.0
    )
    backgrounds_dir: AbsolutePath | None = setting(None, "folder of pictures that training images are pasted onto")
    insert_background_p: float = setting(
        0.0, "chance that a training image is pasted onto one", role="data", ge=0.0, le=1.0
    )
    background_max_ratio: float = setting(
        2.0, "the background is up to so many times as wide as the image on it", ge=1.0, le=20.0
    )
    pre_transforms: TransformList = setting(
        (),
        f"{_LIST}, for every image, first. In all four lists `size` and `padding` with a decimal point count in "
        "image_size (1.0 is the whole side), and so hold at any budget's size; in the end every image has image_size",
    )
    train_augmentations: TransformList = setting((), f"{_LIST}, then, for training images")
    val_augmentations: TransformList = setting((), f"{_LIST}, in their place for validation images")
    post_transforms: TransformList = setting(
        (),
        f"{_LIST}, for every image, last; where they make floating-point numbers of the pixels (ToDtype, Normalize) "
        "the model gets these, else the pixels are normalised as the backbone expects",
    )
    augmentation_p_schedule: AugmentationSchedule = AugmentationSchedule()

    @model_validator(mode="before")
    @classmethod
    def _table_of_images(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A CSV may be named in place of a folder of images."""
        for folder, table in (("images_dir", "labels_file"), ("val_images_dir", "val_labels_file")):
            named = values.get(folder)
            if isinstance(named, str | Path) and str(named).lower().endswith(".csv") and values.get(table) is None:
                values = {**values, folder: None, table: named}
        return values

    @model_validator(mode="after")
    def _some_data(self) -> Self:
        wrong = []
        if self.images_dir is None and self.labels_file is None and self.scenes is None:
            wrong.append("name images_dir or labels_file, or a scenes section for the built-in data")
        if self.val_labels_file is not None and self.labels_file is None:
            wrong.append("val_labels_file belongs to labels_file")
        if self.val_images_dir is not None:
            if self.images_dir is None:
                wrong.append("val_images_dir belongs to images_dir")
            elif self.labels_file is not None and self.val_labels_file is None:
                wrong.append("with labels_file, val_images_dir belongs to val_labels_file")
        if self.insert_background_p > 0.0 and self.backgrounds_dir is None:
            wrong.append(f"insert_background_p={self.insert_background_p:g} needs backgrounds_dir")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class ClassificationModel(Section):
    library: Literal["torchvision", "timm"] | None = setting(
        None, "the library that backbone_name is of; null = the one that has it, and torchvision where both have"
    )
    backbone_name: str = setting("resnet18", "any classification model of torchvision or timm; timm's with its tag too")
    pretrained: bool = setting(False, "start from the library's weights, all but the last layer", role="use")
    weights: AbsolutePath | None = setting(
        None,
        "a file with the backbone's state dict (.pth, .safetensors), in place of a download; or a checkpoint of a "
        "run, of which the last layer is left out where the classes are others",
        role="use",
    )
    in_channels: int = setting(
        3,
        "1 grey, 2 grey and opacity, 3 colour, 4 colour and opacity; pretrained first layers are adapted, to more "
        "channels too, but image files have no more",
        search=(1, 4),
        ge=1,
    )
    n_classes: int | None = setting(
        None, "null = as many as the data have; a number is checked against them", role="data", ge=1
    )

    @field_validator("backbone_name")
    @classmethod
    def _backbone_exists(cls, value: str, info: ValidationInfo) -> str:
        if "library" not in info.data:  # it has a mistake of its own
            return value
        package: str | None = info.data["library"]
        owners = _owners(value)
        if owners and package in (None, *owners):
            return value
        if owners:
            raise ValueError(f"{value} is a model of {owners[0]}: set model.library={owners[0]}, or leave it out")
        raise ValueError("; ".join(no_backbone(each, value) for each in ((package,) if package else _LIBRARIES)))

    @property
    def package(self) -> str:
        """The library that the backbone is taken from."""
        return self.library or _owners(self.backbone_name)[0]

    @property
    def library_note(self) -> str:
        """A line on the choice between two libraries; empty where there was none."""
        if self.library is not None or len(_owners(self.backbone_name)) < 2:
            return ""
        what = f"model.library is not given, and both torchvision and timm have {self.backbone_name}"
        return f"{what}: torchvision's is taken"


def _owners(backbone_name: str) -> tuple[str, ...]:
    """The libraries that have a model of this name; behind a dot is a tag, which only timm has."""
    name, dot, tag = backbone_name.partition(".")
    packages = _LIBRARIES[1:] if dot else _LIBRARIES
    return tuple(package for package in packages if name in backbone_names(package) and bool(dot) == bool(tag))


class ClassificationCriterion(CriterionSettings):
    ROLES = frozenset({"use"})  # smoothing and reduction are of training alone
    type: Literal["cross_entropy", "bce", "bce_with_logits", "mse", "l1", "smooth_l1"] = setting(
        "cross_entropy",
        "the loss; images with several labels take bce_with_logits, or bce, which is the same on probabilities; "
        "mse, l1 and smooth_l1 are between probabilities and truth",
        role=("loss", "data"),  # it says whether an image may have several labels
    )


class Mixing(Section):
    strategy: Literal["mixup", "cutmix"] = setting(
        "mixup", "two images of a batch in one: blended, or one cut into the other; their labels in proportion"
    )
    p: float = setting(0.0, "chance that a training batch is mixed", ge=0.0, le=1.0)
    alpha: float = setting(1.0, "the proportion is drawn from Beta(alpha, alpha)", search=(0.05, 5.0), gt=0.0, le=100.0)


class ClassificationScheduler(SchedulerSettings):
    type: ScheduleName = schedule_name("one_cycle")


class ClassificationTraining(TrainingSettings):
    scheduler: ClassificationScheduler = ClassificationScheduler()
    mixing: Mixing = Mixing()


class ClassificationEvaluation(Section):
    threshold: float = setting(0.5, "where images may have several labels: least probability of one", gt=0.0, lt=1.0)
    samples: int = setting(6, "validation images whose labels are kept for the report", ge=0, le=100)
    confusion_matrix: bool = setting(
        True, "also keep the confusion matrix, where images have one label each and there are at most 100 classes"
    )


class ClassificationMetrics(Section):
    accuracy: bool = setting(True, "accuracy; off, the validation loss is the metric")


class ClassificationConfig(RunConfig):
    """`task: classification`."""

    task: Literal["classification"] = setting("classification", "what is trained")
    data: ClassificationData
    model: ClassificationModel = Field(default_factory=ClassificationModel)
    criterion: ClassificationCriterion = ClassificationCriterion()
    training: ClassificationTraining = ClassificationTraining()
    evaluation: ClassificationEvaluation = ClassificationEvaluation()
    metrics: ClassificationMetrics = ClassificationMetrics()
