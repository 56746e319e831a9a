"""The configuration of a detection run."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from trainer.config.data_settings import LARGEST_PX, SMALLEST_PX, DataSettings, nearest_multiples
from trainer.config.section import AbsolutePath, Section, setting
from trainer.config.settings import (
    RunConfig,
    ScheduleName,
    SchedulerSettings,
    TrainingSettings,
    schedule_name,
)
from trainer.tasks.detection.detectors import DETECTORS, strides_of
from trainer.tasks.detection.model_settings import DetectionCriterion, DetectionModel

BoxFormat = Literal["xywh", "xyxy", "cxcywh"]
BoxUnits = Literal["pixels", "fraction"]


class AugmentSettings(Section):
    """Augmentation of training images; off in overfit mode."""

    hflip_p: float = setting(0.5, "chance of a mirror image", ge=0.0, le=1.0)
    vflip_p: float = setting(0.0, "chance of an image upside down", ge=0.0, le=1.0)
    crop_p: float = setting(0.5, "chance of a random crop, resized to the whole", ge=0.0, le=1.0)
    crop_min_area: float = setting(0.4, "smallest share of the image in a crop", gt=0.0, le=1.0)
    crop_max_ratio: float = setting(1.4, "most that a crop is stretched, either way", ge=1.0, le=10.0)
    min_visible: float = setting(0.25, "a box with less of its area in the crop is left out", ge=0.0, le=1.0)
    brightness: float = setting(0.2, "brightness is multiplied by 1 ± this", ge=0.0, lt=1.0)
    contrast: float = setting(0.2, "contrast likewise", ge=0.0, lt=1.0)
    saturation: float = setting(0.2, "saturation likewise", ge=0.0, lt=1.0)
    hue: float = setting(0.0, "hue is turned by ± this part of the circle", ge=0.0, le=0.5)


class DetectionData(DataSettings):
    ROLES = frozenset({"use"})
    image_size: int = setting(
        800, "square side in pixels; the budget's resolution sets it", ge=SMALLEST_PX, le=LARGEST_PX
    )
    images_dir: AbsolutePath | None = setting(
        None,
        "folder of the images; alone, a data set whose annotations are found in it, or one of the datasets library",
    )
    val_images_dir: AbsolutePath | None = setting(None, "the validation images' own folder; null = images_dir")
    annotations: AbsolutePath | None = setting(
        None,
        "COCO JSON of all images, split by val_split; or YOLO's YAML or folder of labels, a folder of Pascal VOC XML, "
        "JSON lines with objects, which may have a split of their own",
    )
    train_annotations: AbsolutePath | None = setting(None, "the same of the training images")
    val_annotations: AbsolutePath | None = setting(None, "the same of the validation images")
    box_format: BoxFormat = setting(
        "xywh",
        "four numbers of a box in JSON: left, top, width, height; two corners; or centre, width, height",
        role="data",
    )
    box_units: BoxUnits = setting("pixels", "these numbers are pixels, or fractions of the image's sides", role="data")
    resize: Literal["stretch", "letterbox"] = setting(
        "stretch", "images are stretched to the square, or fitted into it with grey borders"
    )
    source_scale: float = setting(
        1.0, "images are kept this much larger than image_size, for sharper crops", ge=1.0, le=4.0
    )
    augment: AugmentSettings = AugmentSettings()

    @model_validator(mode="after")
    def _some_data(self) -> Self:
        pair = [self.train_annotations is not None, self.val_annotations is not None]
        named = any(pair) or self.annotations is not None or self.images_dir is not None
        if any(pair) and not all(pair):
            raise ValueError("train_annotations and val_annotations belong together; one of them is missing")
        if all(pair) and self.annotations is not None:
            raise ValueError("give annotations, or train_annotations with val_annotations, not all three")
        if self.val_images_dir is not None and not all(pair) and (self.annotations or not self.images_dir):
            raise ValueError("val_images_dir belongs to val_annotations, or to images_dir alone")
        if not named and self.scenes is None:
            raise ValueError("name images_dir and annotations, or a scenes section for the built-in data")
        return self


class DetectionEvaluation(Section):
    score_threshold: float = setting(0.5, "least score of boxes in samples and predictions", ge=0.0, le=1.0)
    per_class: bool = setting(True, "also report each class's AP")
    samples: int = setting(6, "validation images whose boxes are kept for the report", ge=0, le=100)


class DetectionMetrics(Section):
    map: bool = setting(True, "COCO mAP; off, the validation loss is the metric")


class DetectionScheduler(SchedulerSettings):
    type: ScheduleName = schedule_name("constant")


class DetectionTraining(TrainingSettings):
    batch_size: int = setting(4, "images per batch", scale="log", search=(1, 4096), ge=1)
    scheduler: DetectionScheduler = DetectionScheduler()


class DetectionConfig(RunConfig):
    """`task: detection`."""

    task: Literal["detection"] = setting("detection", "what is trained")
    data: DetectionData
    model: DetectionModel = Field(default_factory=DetectionModel)
    criterion: DetectionCriterion = DetectionCriterion()
    training: DetectionTraining = DetectionTraining()
    evaluation: DetectionEvaluation = DetectionEvaluation()
    metrics: DetectionMetrics = DetectionMetrics()

    @model_validator(mode="after")
    def _the_model_fits_the_images(self) -> Self:
        mistakes = [mistake for size in self.image_sizes for mistake in self._misfits(size)]
        mistakes += self.model.unbuildable()
        if self.model.name == "detr":
            weights = {name: getattr(self.criterion, name) for name in ("box_weight", "giou_weight")}
            broken = [f"criterion.{name}={value:g}" for name, value in weights.items() if not value.is_integer()]
            mistakes += [f"{word}: detr takes whole numbers here" for word in broken]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _misfits(self, size: int) -> list[str]:
        model = self.model
        strides = strides_of(model)
        stride = strides[-1]
        if size % stride:
            what = f"data.image_size={size} must be a multiple of the model's largest stride, {stride}"
            return [f"{what}: {nearest_multiples(size, stride)}"]
        if model.pretrained or DETECTORS[model.name].one_level:
            return []  # its queries are not chosen from the places of the maps
        places = sum((size // step) ** 2 for step in strides)
        if model.num_queries > places:
            what = f"model.num_queries={model.num_queries} is more than the {places} places of the feature maps"
            return [f"{what} at data.image_size={size}, which queries are chosen from"]
        return []
