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

from trainer.api import (
    ConfigError,
    DataError,
    canonical_overrides,
    check_data,
    known_keys,
    metric_of,
    parse_assignments,
    resolve_config,
)
from trainer.config.resolve import as_now
from trainer.data.library_models import backbone_names, transform_arguments, unfit
from trainer.tasks.classification.config import AugmentationSchedule

ROOT = Path(__file__).resolve().parents[2]
TORCHVISION = {"model__library": "torchvision"}
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
        ({**TORCHVISION, "model__backbone_name": "resnet10t"}, "is a model of timm: set model.library=timm"),
        ({**TORCHVISION, "model__backbone_name": "resnet18.tag"}, "resnet18.tag is a model of timm"),
        ({"model__library": "here"}, r"model\.library: must be one of torchvision, timm or null"),
        ({"model__library": None, "model__backbone_name": "resnet19"}, "torchvision has no .* resnet19; .*timm has no"),
        ({"model__in_channels": 0}, r"model\.in_channels: .*greater than or equal to 1"),
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


@pytest.mark.parametrize(
    ("name", "package", "said"),
    [
        ("resnet18", "torchvision", True), ("resnet10t", "timm", False), ("resnet18.a1_in1k", "timm", False),
        ("squeezenet1_1", "torchvision", False),
    ],
)  # fmt: skip
def test_the_library_is_found_from_the_name(name: str, package: str, said: bool, tmp_path: Path) -> None:
    config = tiny_classification(tmp_path, model__library=None, model__backbone_name=name)
    assert config.model.package == package
    notes = check_data(config).notes
    assert [f"both torchvision and timm have {name}: torchvision's is taken" in note for note in notes] == [True] * said
    chosen = tiny_classification(tmp_path, model__library=package, model__backbone_name=name)
    assert not check_data(chosen).notes


def test_more_channels_than_image_files_have_are_an_error_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"model\.in_channels=6: image files have at most 4 channels"):
        check_data(tiny_classification(tmp_path, model__in_channels=6))


def test_load_from_is_a_path_and_in_earlier_files_of_this_project_a_library(tmp_path: Path) -> None:
    for library in ("timm", "torchvision"):
        older = {"model": {"load_from": library, "backbone_name": "resnet18"}}
        assert canonical_overrides(older, "classification")["model.library"] == library
    weights = tmp_path / "timm"
    weights.touch()
    assert canonical_overrides({"model.load_from": str(weights)}, "classification") == {"model.weights": str(weights)}
    assert canonical_overrides({"model.load_from": None}, "classification") == {"model.weights": None}
    frozen = tiny_classification(tmp_path).plain()
    frozen["model"] = {"load_from": "timm", "backbone_name": "test_resnet"}
    frozen["training"]["optimizer"].pop("decay_norm_and_bias")
    now = tiny_classification(tmp_path, model__library="timm", training__scheduler__cycle_momentum=False)
    for key in ("cycle_momentum", "base_momentum", "max_momentum", "three_phase"):
        frozen["training"]["scheduler"].pop(key)
    before, after = as_now(frozen, now)
    assert before == after, "an earlier version's configuration, and the same one now"
    assert resolve_config(frozen).training.early_stopping == now.training.early_stopping


def test_a_table_of_labels_may_stand_for_the_folder(tmp_path: Path) -> None:
    config = tiny_classification(tmp_path, data__images_dir=str(tmp_path / "labels.csv"))
    assert (config.data.images_dir, config.data.labels_file) == (None, tmp_path / "labels.csv")


def test_a_list_with_nothing_behind_its_name_is_empty(tmp_path: Path) -> None:
    config = tiny_classification(tmp_path, {"dataset": {"val_augmentations": None, "augmentation_p_schedule": None}})
    assert config.data.val_augmentations == ()


def test_pictures_beside_images_are_backgrounds() -> None:
    images = {"dataset.images_dir": "photos", "directories.images": "scenery"}
    both = {"data.images_dir": "photos", "data.backgrounds_dir": "scenery"}
    assert canonical_overrides(images, "classification") == both
    alone = canonical_overrides({"directories": {"images": "photos"}}, "classification")
    assert alone == {"data.images_dir": "photos"}


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
