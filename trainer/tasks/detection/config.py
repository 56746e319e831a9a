"""The configuration of a detection run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from trainer.config.settings import (
    LARGEST_PX,
    SMALLEST_PX,
    AbsolutePath,
    DataSettings,
    RunConfig,
    ScheduleName,
    SchedulerSettings,
    Section,
    TrainingSettings,
    schedule_name,
    setting,
)
from trainer.tasks.detection.detectors import DETECTORS, DetectorName

Sizes = Annotated[tuple[int, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]
PRETRAINED_STRIDE = 32  # of every published model of the three kinds


class AugmentSettings(Section):
    """Training images only, and none of it in overfit mode."""

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
    image_size: int = setting(
        800, "square side in pixels; the budget's resolution sets it", ge=SMALLEST_PX, le=LARGEST_PX
    )
    images_dir: AbsolutePath | None = setting(None, "folder that the annotations' file names are in")
    val_images_dir: AbsolutePath | None = setting(None, "the validation images' own folder; null = images_dir")
    annotations: AbsolutePath | None = setting(None, "COCO JSON of all images, split by val_split")
    train_annotations: AbsolutePath | None = setting(None, "COCO JSON of the training images")
    val_annotations: AbsolutePath | None = setting(None, "COCO JSON of the validation images")
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
        named = any(pair) or self.annotations is not None
        if any(pair) and not all(pair):
            raise ValueError("train_annotations and val_annotations belong together; one of them is missing")
        if all(pair) and self.annotations is not None:
            raise ValueError("give annotations, or train_annotations with val_annotations, not all three")
        if named != (self.images_dir is not None):
            raise ValueError("images_dir and annotations belong together; one of them is missing")
        if self.val_images_dir is not None and not all(pair):
            raise ValueError("val_images_dir belongs to val_annotations")
        if not named and self.scenes is None:
            raise ValueError("name images_dir and annotations, or a scenes section for the built-in data")
        return self


class DetectionModel(Section):
    name: DetectorName = setting("rt_detr_v2", "the detector")
    pretrained: str | Literal[False] = setting(
        False, "start from a hub's name or a folder with a saved model, whose sizes then hold; false = random weights"
    )
    num_queries: int = setting(300, "most boxes that an image can get", scale="log", search=(1, 2000), ge=1)
    d_model: int = setting(256, "width of encoder and decoder; a multiple of 4", scale="log", search=(16, 1024), ge=8)
    attention_heads: int = setting(8, "heads in encoder and decoder", search=(1, 64), ge=1)
    encoder_layers: int = setting(1, "transformer layers over the feature maps", search=(1, 24), ge=1)
    decoder_layers: int = setting(6, "transformer layers over the queries", search=(1, 24), ge=1)
    feedforward_dim: int = setting(1024, "inner width of a layer", scale="log", search=(16, 8192), ge=1)
    dropout: float = setting(0.0, "in encoder and decoder", ge=0.0, lt=1.0)
    hidden_expansion: float = setting(1.0, "width inside the feature pyramid (not detr)", gt=0.0, le=4.0)
    decoder_points: int = setting(4, "places each head looks at on a level (not detr)", search=(1, 16), ge=1)
    num_denoising: int = setting(100, "noised boxes shown in training; 0 = none (not detr)", search=(0, 500), ge=0)
    label_noise: float = setting(0.5, "share of the noised boxes with a wrong label", ge=0.0, le=1.0)
    box_noise: float = setting(1.0, "size of the boxes' noise", search=(0.0, 2.0), ge=0.0)
    levels: int = setting(3, "feature maps that the encoder gets, the coarsest ones (detr: one)", ge=1, le=8)
    backbone_block: Literal["basic", "bottleneck"] = setting("bottleneck", "the ResNet's block")
    backbone_stem: int = setting(64, "channels after the stem; even", scale="log", search=(8, 256), ge=2)
    backbone_widths: Sizes = setting((256, 512, 1024, 2048), "channels of each stage")
    backbone_depths: Sizes = setting((3, 4, 6, 3), "blocks of each stage; the first has stride 4, each next doubles it")

    @field_validator("pretrained")
    @classmethod
    def _absolute_folder(cls, value: str | Literal[False]) -> str | Literal[False]:
        if value is False or not Path(value).expanduser().is_dir():
            return value
        return str(Path(value).expanduser().absolute())

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        widths, depths, heads = self.backbone_widths, self.backbone_depths, self.attention_heads
        if not widths or len(widths) != len(depths) or min(*widths, *depths, 1) < 1:
            raise ValueError("backbone_widths and backbone_depths need one number from 1 up for each stage")
        if self.backbone_block == "bottleneck" and any(width % 4 for width in widths):
            raise ValueError("bottleneck blocks need backbone_widths in multiples of 4")
        if self.backbone_stem % 2:
            raise ValueError(f"backbone_stem={self.backbone_stem} must be even")
        if self.levels > len(depths):
            raise ValueError(f"levels={self.levels} is more than the backbone's {len(depths)} stages")
        if self.d_model % heads or self.d_model % 4:
            raise ValueError(f"d_model={self.d_model} must be a multiple of 4 and of attention_heads={heads}")
        return self

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels between two places of each feature map that is used, finest first."""
        if self.pretrained:
            return (PRETRAINED_STRIDE,)
        used = 1 if DETECTORS[self.name].one_level else self.levels
        return tuple(4 * 2**stage for stage in range(len(self.backbone_depths)))[-used:]


class DetectionCriterion(Section):
    """The parts of the library's loss; every part is a mean over boxes."""

    type: Literal["set_prediction"] = setting(
        "set_prediction", "the library's loss: boxes matched to queries, in parts"
    )
    class_weight: float = setting(1.0, "weight of the class loss (detr: always 1)", search=(0.0, 10.0), ge=0.0)
    box_weight: float = setting(5.0, "weight of the boxes' L1 distance", search=(0.0, 20.0), ge=0.0)
    giou_weight: float = setting(2.0, "weight of the boxes' generalised IoU loss", search=(0.0, 20.0), ge=0.0)


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
        mistakes = [mistake for size in self._sizes() for mistake in self._misfits(size)]
        if self.model.name == "detr":
            weights = {name: getattr(self.criterion, name) for name in ("box_weight", "giou_weight")}
            broken = [f"criterion.{name}={value:g}" for name, value in weights.items() if not value.is_integer()]
            mistakes += [f"{word}: detr takes whole numbers here" for word in broken]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _sizes(self) -> tuple[int, ...]:
        """Every size that images are trained at."""
        schedule = self.training.resize_schedule or ()
        return tuple(dict.fromkeys((self.data.image_size, *(size for _, size in schedule))))

    def _misfits(self, size: int) -> list[str]:
        model = self.model
        stride = model.strides[-1]
        if size % stride:
            lower = size // stride * stride
            near = " or ".join(str(side) for side in (lower, lower + stride) if side)
            return [f"data.image_size={size} must be a multiple of the model's largest stride, {stride}: {near}"]
        if model.pretrained or DETECTORS[model.name].one_level:
            return []  # its queries are not chosen from the places
        places = sum((size // step) ** 2 for step in model.strides)
        if model.num_queries > places:
            what = f"model.num_queries={model.num_queries} is more than the {places} places of the feature maps"
            return [f"{what} at data.image_size={size}, which queries are chosen from"]
        return []
