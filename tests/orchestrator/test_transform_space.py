"""Searches over keys that hold lists and over sections with a chance in them: named transforms, mixing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from orchestrator_parts import Command, tree

from orchestrator.planning.arguments import Request
from orchestrator.planning.request import make_plan
from orchestrator.study.plan import Plan
from trainer.api import ConfigError

BASE = Path(__file__).resolve().parents[2] / "configs" / "classification_small.yaml"
LIST = "data.train_augmentations"


def plan_of(folder: Path, **content: Any) -> Plan:
    path = folder / "t.json"
    path.write_text(json.dumps({"base_config": str(BASE), "search": {"n_trials": 3}, **content}))
    return make_plan(Request(path, output_dir=folder))[0]


def test_lists_of_transforms_are_searched_in_one_form(tmp_path: Path) -> None:
    choices = [[], ["RandomInvert"], [{"name": "RandomRotation", "degrees": 5}]]
    space = {
        LIST: {"type": "categorical", "choices": choices},
        "training.mixing.p": {"type": "float", "low": 0.0, "high": 1.0},
        "training.mixing.strategy": {"type": "categorical", "choices": ["mixup", "cutmix"]},
        "data.augmentation_p_schedule.exponent_factor": {"type": "float", "low": -3.0, "high": 3.0},
    }
    plan = plan_of(tmp_path, search_space=space)
    assert plan.metric.name == "accuracy"
    config = plan.search_config({LIST: choices[2], "training.mixing.p": 0.5}, plan.top)
    assert config.data.train_augmentations == ({"RandomRotation": {"degrees": 5}},)  # type: ignore[attr-defined]
    assert config.training.mixing.p == 0.5  # type: ignore[attr-defined]


def test_a_wrong_transform_in_a_trial_or_a_choice_is_said_before_anything_runs(tmp_path: Path) -> None:
    space = {LIST: {"type": "categorical", "choices": [[], ["RandomRotatoin"]]}}
    with pytest.raises(ConfigError) as caught:
        plan_of(tmp_path, trials=[{LIST: [{"RandomCrop": {"sise": 8}}]}], search_space=space)
    said = str(caught.value)
    assert "trial 1" in said
    assert "RandomCrop takes no sise, only size" in said
    assert "unknown transform RandomRotatoin; did you mean RandomRotation?" in said


def test_a_value_that_torchvision_refuses_binds_no_study(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "t.json"
    overrides = {LIST: [{"RandomRotation": {"degrees": -5}}], "data.scenes.images": 20, "data.scenes.size": 32}
    path.write_text(json.dumps({"base_config": str(BASE), "overrides": overrides, "trials": [{}]}))
    refused = command("run", path)
    assert refused.exit_code == 2
    assert "error: data.train_augmentations: RandomRotation: " in refused.stderr
    assert not list(tmp_path.rglob("plan.yaml")), "put right, the same command begins the study"


def test_what_torchvision_refuses_in_trials_and_choices_is_said_at_once(tmp_path: Path, command: Command) -> None:
    flip = [{"RandomHorizontalFlip": {"p": 7}}]
    content = {
        "base_config": str(BASE),
        "overrides": {"data.scenes.images": 20, "data.scenes.size": 32, LIST: ["RandomInvert"]},
        "trials": [{LIST: flip}, {"training.lr": 0.1}, {LIST: ["RandomInvert"]}, {"data.pre_transforms": flip}],
        "search_space": {LIST: {"type": "categorical", "choices": [[], [{"RandomRotation": {"degrees": -5}}]]}},
        "search": {"n_trials": 6},
    }
    (tmp_path / "t.json").write_text(json.dumps(content))
    before = tree(tmp_path)
    refused = command("run", "t.json")
    assert refused.exit_code == 2
    assert tree(tmp_path) == before
    assert not (tmp_path / "outputs").exists()
    lines = refused.stderr.splitlines()
    assert len(lines) == 3, refused.stderr
    assert f"t.json, trial 1: {LIST}: RandomHorizontalFlip: " in lines[0]
    assert "t.json, trial 4: data.pre_transforms: RandomHorizontalFlip: " in lines[1]
    assert f'search_space.{LIST}: choice [{{"RandomRotation"' in lines[2]
    assert f": {LIST}: RandomRotation: " in lines[2]


def test_backbones_that_cannot_be_had_or_take_no_such_images_are_said_at_once(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "t.json"
    name = "model.backbone_name"
    space = {name: {"type": "categorical", "choices": ["test_resnet", "test_vit.nothere"]}}
    trials = [{name: "test_vit"}, {"training.lr": 0.1}, {name: "test_vit.no_such"}]
    path.write_text(json.dumps({
        "base_config": str(BASE), "trials": trials, "search_space": space, "search": {"n_trials": 4},
        "budget": {"epochs": 1, "size": 24},
    }))  # fmt: skip
    refused = command("run", path)
    assert refused.exit_code == 2
    said = refused.stderr.splitlines()
    assert len(said) == 3
    assert "trial 1: model.backbone_name: test_vit takes no images of 24 px (Input height (24) should be" in said[0]
    assert "trial 3: model.backbone_name: Invalid pretrained tag (no_such)" in said[1]
    assert 'search_space.model.backbone_name: choice "test_vit.nothere": model.backbone_name: Invalid' in said[2]
    assert not (tmp_path / "outputs").exists()


def test_a_backbone_of_one_size_on_a_ladder_of_several_is_refused(tmp_path: Path, command: Command) -> None:
    """Else just the best trials would be lost, at the moment when they climb."""
    path = tmp_path / "t.json"
    trials = [{"training.lr": 0.1}, {"model.backbone_name": "test_vit"}]
    content = {"base_config": str(BASE), "trials": trials}
    path.write_text(json.dumps({**content, "ladder": "1x30@32,2x40@48"}))
    refused = command("run", path)
    assert refused.exit_code == 2
    assert "trial 2: data.image_size: test_vit was built for images of 32 px and takes no others, such as 48" in (
        refused.stderr
    )
    assert refused.stderr.count("\n") == 1


def test_every_size_of_a_trial_is_tried(tmp_path: Path, command: Command) -> None:
    crop = [{"RandomCrop": {"size": 40}}]  # larger than the images of the lower rung
    content = {
        "base_config": str(BASE),
        "overrides": {"data.scenes.images": 20, "data.scenes.size": 64},
        "ladder": "1x10@32,2x10@64",
        "trials": [{}, {LIST: crop}],
    }
    (tmp_path / "t.json").write_text(json.dumps(content))
    refused = command("run", "t.json")
    assert refused.exit_code == 2
    assert f"trial 2: {LIST}: RandomCrop fails on 3 channels of uint8, (32, 32) px" in refused.stderr
    assert not (tmp_path / "outputs").exists()
