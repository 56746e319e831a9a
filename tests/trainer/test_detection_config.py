"""What a detection configuration may say; each limit of the library is an error that names it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from detection_parts import tiny_detection

from trainer.api import ConfigError, known_keys, load_config, metric_of, resolve_config
from trainer.config.describe import commented_yaml
from trainer.tasks.detection.detectors import DETECTORS, strides_of
from trainer.tasks.detection.model_settings import DetectionModel, DetectorName

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def said(folder: Path, **overrides: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        tiny_detection(folder, **overrides)
    return str(caught.value)


def test_the_names_are_those_of_the_table() -> None:
    assert set(get_args(DetectorName)) == set(DETECTORS)
    assert known_keys("detection")["model.name"].choices == get_args(DetectorName)


@pytest.mark.parametrize("name", ["detection.yaml", "detection_small.yaml", "detection_smoke.yaml"])
def test_the_shipped_configurations_are_sound(name: str) -> None:
    config = load_config(CONFIGS / name)
    assert config.task == "detection"
    assert metric_of(config).name == "map"


def test_the_tasks_own_defaults() -> None:
    config = resolve_config({"task": "detection", "data": {"scenes": {}}})
    assert (config.training.batch_size, config.training.epochs, config.data.image_size) == (4, 50, 800)
    assert config.training.scheduler.type == "constant"
    assert config.training.precision == "auto"


def test_the_metric_can_be_switched_off(tmp_path: Path) -> None:
    assert metric_of(tiny_detection(tmp_path, metrics__map=False)).name == "loss"
    assert metric_of(tiny_detection(tmp_path)).scale == 1.0


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"data__image_size": 60}, r"image_size=60 must be a multiple of the model's largest stride, 16: 48 or 64"),
        ({"training__resize_schedule": [[1, 64], [2, 72]]}, "image_size=72 must be a multiple"),
        ({"model__num_queries": 81}, "num_queries=81 is more than the 80 places of the feature maps at .*=64"),
        ({"model__attention_heads": 5}, "d_model=32 must be a multiple of 4 and of attention_heads=5"),
        ({"model__levels": 4}, "levels=4 is more than the backbone's 3 stages"),
        ({"model__backbone_depths": [1, 1]}, "one number from 1 up for each stage"),
        ({"model__backbone_depths": [1, 0, 1]}, "one number from 1 up for each stage"),
        ({"model__backbone_block": "bottleneck", "model__backbone_widths": [8, 18, 24]}, "multiples of 4"),
        ({"model__name": "detr", "criterion__box_weight": 2.5}, r"criterion.box_weight=2.5: detr takes whole numbers"),
        ({"data__images_dir": "x", "data__train_annotations": "x.json"}, "val_annotations belong together"),
        ({"model__decoder_layers": 1}, "model.decoder_layers=1: rt_detr_v2 needs 2 or more"),
        ({"model__decoder_layers": 1, "model__name": "d_fine"}, "model.decoder_layers=1: d_fine needs 2 or more"),
        ({"model__backbone_stem": 16}, r"backbone_stem=16 must be the first of model.backbone_widths=\[8, 16, 24\]"),
        ({"model__backbone_stem": 16, "model__name": "detr"}, "backbone_stem=16 must be the first of"),
        ({"model__hidden_expansion": 0.03}, "model.hidden_expansion=0.03 of model.d_model=32 is 0.96 channels"),
        ({"model__hidden_expansion": 0.05, "model__name": "d_fine"}, "d_fine needs 2 or more"),
        ({"data__val_images_dir": "x"}, "val_images_dir belongs to val_annotations"),
        ({"data__scenes": None}, "or a scenes section"),
        ({"model__pretrained": True}, "must be text or false, not True"),
        ({"model__name": "yolo"}, "one of rt_detr_v2, detr, d_fine"),
        ({"training__optimizer__lr": -1.0}, "greater than 0"),
    ],
)
def test_every_limit_is_said(overrides: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert re.search(words, said(tmp_path, **overrides))


def test_all_limits_come_at_once(tmp_path: Path) -> None:
    words = said(tmp_path, model__levels=4, data__val_images_dir="x", training__batch_size=0)
    assert all(part in words for part in ("levels=4", "val_images_dir", "training.batch_size"))


def test_detr_has_one_level_and_free_queries(tmp_path: Path) -> None:
    config = tiny_detection(tmp_path, model__name="detr", model__num_queries=100)
    assert strides_of(config.model) == (16,)


def test_a_pretrained_folder_is_made_absolute_and_a_hubs_name_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "saved").mkdir()
    monkeypatch.chdir(tmp_path)
    assert DetectionModel(pretrained="saved").pretrained == str(tmp_path / "saved")
    assert DetectionModel(pretrained="someone/model").pretrained == "someone/model"
    config = tiny_detection(tmp_path / "run", data__image_size=64, model__pretrained="saved")
    assert resolve_config(config.plain(), {"model.pretrained": False}).model.pretrained is False
    assert "a multiple of the model's largest stride, 32" in said(
        tmp_path, data__image_size=48, model__pretrained="saved"
    )


def test_every_key_is_explained() -> None:
    text = commented_yaml("detection")
    assert "text or false" in text
    assert all(key.meaning for key in known_keys("detection").values() if key.path != "task")
