"""What a classification's configuration takes, and what it says about the rest, before torch is imported."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torchvision
from classification_parts import tiny_classification
from torchvision.transforms import v2

from trainer.api import ConfigError, known_keys, metric_of, parse_assignments, resolve_config
from trainer.data.library_models import backbone_names, transform_arguments, unfit
from trainer.tasks.classification.config import AugmentationSchedule

ROOT = Path(__file__).resolve().parents[2]
TORCHVISION = {"model__load_from": "torchvision"}
LISTS = ("pre_transforms", "train_augmentations", "val_augmentations", "post_transforms")


def test_the_catalogue_is_that_of_the_libraries() -> None:
    assert backbone_names("timm") == set(timm.list_models())
    assert backbone_names("torchvision") == set(torchvision.models.list_models(module=torchvision.models))
    public = {
        name for name in dir(v2) if isinstance(getattr(v2, name), type) and issubclass(getattr(v2, name), v2.Transform)
    }
    assert set(transform_arguments()) == {name for name in public - {"Transform"} if not unfit(name)}
    assert transform_arguments()["RandomHorizontalFlip"] == {"p": False}
    assert transform_arguments()["RandomRotation"]["degrees"] is True


def test_names_and_arguments_are_checked_without_torch() -> None:
    code = """
import sys
from trainer.api import check_data, metric_of, resolve_config
data = {"scenes": {}, "train_augmentations": ["RandomHorizontalFlip"]}
config = resolve_config({"task": "classification", "data": data})
metric_of(config), check_data(config)
loaded = [name for name in ("torch", "torchvision", "timm") if name in sys.modules]
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "entries",
    [
        [
            "RandomHorizontalFlip",
            {"RandomRotation": {"degrees": 10}},
            {"RandomApply": {"transforms": ["RandomInvert"]}},
        ],
        [
            {"name": "RandomHorizontalFlip"},
            {"name": "RandomRotation", "degrees": 10},
            {"RandomApply": {"transforms": [{"RandomInvert": None}]}},
        ],
    ],
)
def test_a_transform_may_be_written_in_three_ways(name: str, entries: list[Any], tmp_path: Path) -> None:
    config = tiny_classification(tmp_path, **{f"data__{name}": entries})
    assert getattr(config.data, name) == (
        "RandomHorizontalFlip",
        {"RandomRotation": {"degrees": 10}},
        {"RandomApply": {"transforms": ["RandomInvert"]}},
    )
    assert resolve_config(config.plain()) == config
    assert known_keys("classification")[f"data.{name}"].kind == "list"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["RandomHorizontalFlop"], "unknown transform RandomHorizontalFlop; did you mean RandomHorizontalFlip"),
        ([{"RandomRotation": {"degree": 3}}], "RandomRotation takes no degree, only degrees, interpolation.*; "),
        ([{"RandomRotation": {"degree": 3}}], "RandomRotation needs degrees"),
        (["RandomRotation"], "RandomRotation needs degrees"),
        ([7], "7 is not a transform: write a name"),
        ([{"Resize": 3}], "is not a transform"),
        (["MixUp"], "MixUp mixes the images of a batch: use training.mixing"),
        (["ToPILImage"], "ToPILImage is about another kind of image"),
        (["SanitizeBoundingBoxes"], "SanitizeBoundingBoxes is about boxes"),
        (["Lambda"], "Lambda takes code"),
        ([{"RandomApply": {"transforms": ["Flip"]}}], "RandomApply: entry 1: unknown transform Flip"),
        ([{"RandomApply": {"transforms": "Flip"}}], "RandomApply: transforms must be a list"),
        ("RandomInvert", "must be a list"),
    ],
)
def test_a_mistake_in_a_list_is_named(entries: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"data\.train_augmentations: (entry 1: .*|){words}"):
        tiny_classification(tmp_path, data__train_augmentations=entries)


def test_a_list_comes_from_the_command_line(tmp_path: Path) -> None:
    said = parse_assignments(["data.train_augmentations=[RandomInvert, {RandomRotation: {degrees: 5}}]"])
    assert tiny_classification(tmp_path, said).data.train_augmentations[1] == {"RandomRotation": {"degrees": 5}}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model__backbone_name": "test_resnett"}, "timm has no classification model test_resnett; did you mean test_"),
        ({"model__backbone_name": "test_resnet."}, r"timm has no classification model test_resnet\.; did you mean"),
        ({**TORCHVISION, "model__backbone_name": "resnet19"}, "no classification model resnet19; did you mean"),
        ({**TORCHVISION, "model__backbone_name": "resnet10t"}, "is a model of timm: set model.load_from=timm"),
        ({**TORCHVISION, "model__backbone_name": "resnet18.tag"}, "resnet18.tag is a model of timm"),
        ({"model__load_from": "here"}, r"model\.load_from: must be one of torchvision, timm"),
        ({"model__in_channels": 5}, r"model\.in_channels: .*less than or equal to 4"),
        ({"data__insert_background_p": 0.5}, r"insert_background_p=0\.5 needs backgrounds_dir"),
        ({"data__val_labels_file": "v.csv"}, "val_labels_file belongs to labels_file"),
        ({"data__val_images_dir": "v"}, "val_images_dir belongs to images_dir"),
        ({"data__labels_file": "l.csv", "data__images_dir": "i", "data__val_images_dir": "v"}, "to val_labels_file"),
        ({"data__scenes": None}, "name images_dir or labels_file, or a scenes section"),
        ({"training__mixing__strategy": "blend"}, "must be one of mixup, cutmix"),
        ({"training__mixing__p": 1.5}, r"training\.mixing\.p: .*less than or equal to 1"),
        ({"data__augmentation_p_schedule__start_p": -0.1}, r"start_p: .*greater than or equal to 0"),
        ({"criterion__type": "bce", "criterion__label_smoothing": 0.1}, "bce does not take label_smoothing"),
        ({"criterion__type": "hinge"}, "must be one of cross_entropy, bce, "),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        tiny_classification(tmp_path, **settings)


def test_timm_takes_a_tag(tmp_path: Path) -> None:
    assert tiny_classification(tmp_path, model__backbone_name="test_resnet.r160_in1k").model.backbone_name


def test_the_chance_of_augmentation_follows_its_formula() -> None:
    schedule = AugmentationSchedule(start_p=0.2, end_p=0.8, exponent_factor=3.0)
    for epoch, part in ((1, 0.0), (3, 0.5), (5, 1.0)):
        left = (math.exp(-3.0 * part) - math.exp(-3.0)) / (1.0 - math.exp(-3.0))
        assert schedule.chance(epoch, 5) == pytest.approx(0.8 - 0.6 * left)
    assert schedule.chance(1, 5) == pytest.approx(0.2)
    assert schedule.chance(5, 5) == schedule.chance(9, 5) == pytest.approx(0.8)
    assert schedule.chance(1, 1) == pytest.approx(0.2)
    straight = AugmentationSchedule(start_p=1.0, end_p=0.0, exponent_factor=0.0)
    assert [straight.chance(epoch, 5) for epoch in range(1, 6)] == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])
    late = AugmentationSchedule(start_p=0.0, end_p=1.0, exponent_factor=-3.0)
    early = AugmentationSchedule(start_p=0.0, end_p=1.0, exponent_factor=3.0)
    assert late.chance(3, 5) < 0.5 < early.chance(3, 5)


def test_the_metric_is_accuracy_or_the_loss(tmp_path: Path) -> None:
    metric = metric_of(tiny_classification(tmp_path))
    assert (metric.name, metric.direction, metric.scale) == ("accuracy", "maximize", 1.0)
    assert metric_of(tiny_classification(tmp_path, metrics__accuracy=False)).name == "loss"


@pytest.mark.parametrize("name", ["classification", "classification_small"])
def test_the_shipped_configurations_stand(name: str) -> None:
    from trainer.api import load_config

    config = load_config(ROOT / "configs" / f"{name}.yaml")
    assert config.training.scheduler.type == "one_cycle"
