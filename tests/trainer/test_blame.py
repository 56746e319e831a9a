"""A mistake is said where it was made: in the file or in an override, under the spelling that was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.api import ConfigError, load_config, resolve_config

OLDER = """
dataset: {image_size: 64}
optimizer: {type: SGD, lr: 0.01, momentum: 0.9}
training: {num_epochs: 3}
data: {scenes: {}}
"""


def mistakes(folder: Path, overrides: dict[str, Any], text: str = OLDER, task: str = "classification") -> list[str]:
    path = folder / "base.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"task": task, **overrides})
    return [str(problem).replace(str(path), "FILE") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"optimizer.type": "Adam"}, "optimizer.type: adam does not take momentum"),
        ({"training.optimizer.centered": True}, "training.optimizer.centered: sgd does not take centered"),
        ({"dataset.image_size": 3}, "dataset.image_size: input should be greater than or equal to 16, not 3"),
        ({"training.max_grad_norm": -1}, "training.max_grad_norm: input should be greater than or equal to 0, not -1"),
        ({"dataset.insert_background_p": 0.5}, "dataset.insert_background_p: insert_background_p=0.5 needs backg"),
        ({"data.scenes": None}, "data.scenes: name images_dir or labels_file, or a scenes section"),
        ({"dataset.pre_transforms": ["Resze"]}, "dataset.pre_transforms: entry 1: unknown transform Resze"),
        ({"optimizer": "AdamW"}, "optimizer: is a section, not a value ('AdamW'); set one of its keys"),
    ],
)
def test_an_override_is_blamed_for_what_it_breaks(overrides: dict[str, Any], said: str, tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, overrides)
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("type: SGD", "type: Adam", "FILE: optimizer.momentum: adam does not take momentum"),
        ("image_size: 64", "image_size: 5", "FILE: dataset.image_size: input should be greater than or equal to 16"),
        ("num_epochs: 3", "num_epochs: 0", "FILE: training.num_epochs: input should be greater than or equal to 1"),
        ("image_size: 64", "sise: 64", "FILE: dataset.sise: unknown key"),
        ("data: {scenes: {}}", "", "FILE: data: name images_dir or labels_file"),
    ],
)
def test_a_file_is_blamed_for_its_own_also_where_something_is_overridden(
    before: str, after: str, said: str, tmp_path: Path
) -> None:
    overrides = {"optimizer.weight_decay": 0.1, "training.batch_size": 4, "dataset.val_part": 0.3}
    (found,) = mistakes(tmp_path, overrides, OLDER.replace(before, after))
    assert found.startswith(said)


@pytest.mark.parametrize("share", [1.0, 0, -0.5, 1.5, "1.0"])
def test_a_share_that_leaves_nothing_is_said_of_the_older_key(share: Any, tmp_path: Path) -> None:
    said = f"data.train_split: must be above 0 and below 1: {'the images that are not trained on'}"
    (found,) = mistakes(tmp_path, {"data.train_split": share})
    assert found.startswith(said)
    assert found.endswith(f", not {share!r}")
    assert "val_split" not in found
    text = OLDER.replace("{image_size: 64}", f"{{train_split: {share}}}")
    (found,) = mistakes(tmp_path, {}, text)
    assert found.startswith("FILE: dataset.train_split: must be above 0 and below 1")


def test_mistakes_of_a_whole_task_name_the_override(tmp_path: Path) -> None:
    text = "data: {scenes: {}}"
    (found,) = mistakes(tmp_path, {"dataset.image_size": 100}, text, "diffusion")
    assert found.startswith("dataset.image_size: data.image_size=100 must be a multiple of 8")
    (found,) = mistakes(tmp_path, {"training.batch_size": 4}, f"{text}\ndataset: {{image_size: 100}}", "diffusion")
    assert found.startswith("FILE: dataset.image_size: data.image_size=100")


def test_layers_may_have_names() -> None:
    base, trials = {"task": "captioning", "data": {"scenes": {}}}, {"training.lr": -1}
    with pytest.raises(ConfigError, match=r"^trials\.json: overrides: training\.lr: input should be greater than 0"):
        resolve_config(base, trials, {"training.epochs": 2}, names=("base.yaml", "trials.json: overrides", "here"))
