"""What trials and choices make of the data: checked before anything runs, and once for equal data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from orchestrator_parts import LR, Command, tree
from PIL import Image

from orchestrator.planning import data_checks
from orchestrator.planning.arguments import Request
from orchestrator.planning.request import make_plan
from trainer.api import ConfigError, check_data, reads_data, tasks

BASE = Path(__file__).resolve().parents[2] / "configs" / "classification_small.yaml"
CLASSES, KIND = "model.n_classes", "criterion.type"
LABELS = {0: "red", 1: "red;blue", 2: "blue", 3: "", 4: "red", 5: "blue"}  # as only several labels allow


def mistakes(folder: Path, overrides: Mapping[str, Any] | None = None, **content: Any) -> list[str]:
    path = folder / "t.json"
    more = {"search": {"n_trials": 3}} if "search_space" in content else {}
    path.write_text(json.dumps({"base_config": str(BASE), "overrides": dict(overrides or {}), **more, **content}))
    with pytest.raises(ConfigError) as caught:
        make_plan(Request(path, output_dir=folder))
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def labels(tmp_path: Path) -> dict[str, Any]:
    """Overrides that name a table of images with several labels, and the criterion that takes it."""
    for number in LABELS:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    rows = "".join(f"{number}.png,{text}\n" for number, text in LABELS.items())
    (tmp_path / "labels.csv").write_text(f"image,label\n{rows}", encoding="utf-8")
    return {"data.labels_file": str(tmp_path / "labels.csv"), KIND: "bce_with_logits"}


def test_another_number_of_classes_in_a_trial(tmp_path: Path) -> None:
    (said,) = mistakes(tmp_path, trials=[{LR: 0.1}, {CLASSES: 12}, {CLASSES: 5}])
    assert said.startswith(f"{tmp_path / 't.json'}, trial 2: data: model.n_classes=12, but the data have 5 classes")


def test_another_number_of_classes_in_a_choice_and_a_range(tmp_path: Path) -> None:
    choices = {CLASSES: {"type": "categorical", "choices": [5, 7]}}
    (said,) = mistakes(tmp_path, search_space=choices)
    assert (
        f"search_space.{CLASSES}: choice 7, with the base values of the other keys: data: model.n_classes=7, but"
        in said
    )
    both = mistakes(tmp_path, search_space={CLASSES: {"type": "int", "low": 2, "high": 5}})
    assert len(both) == 1
    assert "low, with the base values of the other keys: data: model.n_classes=2, but" in both[0]


def test_a_criterion_for_one_label_in_a_trial_of_several(tmp_path: Path, labels: dict[str, Any]) -> None:
    (said,) = mistakes(tmp_path, labels, trials=[{KIND: "bce"}, {KIND: "mse"}, {LR: 0.1}])
    assert "trial 2: data: " in said
    assert "row 5: no label of 3.png" in said
    space = {KIND: {"type": "categorical", "choices": ["bce", "l1"]}}
    (said,) = mistakes(tmp_path, labels, search_space=space)
    assert 'choice "l1", with the base values of the other keys: data: ' in said


def test_trials_of_another_problem_are_refused(tmp_path: Path, labels: dict[str, Any]) -> None:
    """`red;blue` is two labels under one criterion, and a class of its own under another."""
    table = tmp_path / "labels.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("3.png,\n", "3.png,red\n"), encoding="utf-8")
    (said,) = mistakes(tmp_path, labels, trials=[{KIND: "bce"}, {KIND: "mse"}, {LR: 0.1}])
    assert "trial 2: data: one of 3 classes: blue, red, red;blue here, and any of 2 classes: blue, red in the" in said
    single = {**labels, KIND: "cross_entropy"}
    table.write_text(table.read_text(encoding="utf-8").replace("red;blue", "green"), encoding="utf-8")
    path = tmp_path / "t.json"
    trials = [{KIND: "bce"}, {KIND: "mse"}, {LR: 0.1}]
    path.write_text(json.dumps({"base_config": str(BASE), "overrides": single, "trials": trials}))
    assert make_plan(Request(path, output_dir=tmp_path))[0].n_trials == 3, "with one label each it is one problem"


def test_a_mistake_of_the_base_is_said_once(tmp_path: Path) -> None:
    trials = [{LR: 0.1}, {KIND: "bce"}, {CLASSES: 12}, {CLASSES: 9}]
    said = mistakes(tmp_path, {CLASSES: 12}, trials=trials)
    assert len(said) == 2
    assert "trial 4: data: model.n_classes=9" in said[0]
    assert said[1].startswith("data: model.n_classes=12")


def test_equal_data_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []

    def counted(config: Any) -> Any:
        read.append(config)
        return check_data(config)

    monkeypatch.setattr(data_checks, "check_data", counted)
    listed: Sequence[dict[str, Any]] = [{LR: n / 100, CLASSES: 5 + n % 3, "model.in_channels": 3} for n in range(1, 61)]
    space = {CLASSES: {"type": "categorical", "choices": [5, 6]}, LR: {"type": "float", "low": 0.1, "high": 0.2}}
    assert len(mistakes(tmp_path, trials=list(listed), search_space=space)) == 41
    assert [config.model.n_classes for config in read] == [None, 6, 7, 5]


def test_what_the_checks_look_at() -> None:
    for task in tasks():
        assert reads_data(task, "data.bad_samples")
        assert reads_data(task, "data.scenes.images")
        assert not reads_data(task, LR)
    assert reads_data("classification", KIND)
    assert reads_data("classification", "model.weights"), "a path always counts"
    assert not reads_data("captioning", KIND)
    assert reads_data("diffusion", "vae.subfolder")


def test_a_folder_without_a_model_is_refused_with_the_rest(tmp_path: Path, command: Command) -> None:
    (tmp_path / "empty").mkdir()
    base = Path(BASE).with_name("diffusion_small.yaml")
    overrides = {"vae.type": "pretrained", "vae.pretrained_model_name": str(tmp_path / "empty")}
    trials = [{"training.lr": 0.1}, {"vae.pretrained_model_name": "/nope/vae"}]
    (tmp_path / "t.json").write_text(json.dumps({"base_config": str(base), "overrides": overrides, "trials": trials}))
    before = tree(tmp_path)
    for name in ("plan", "run"):
        result = command(name, "t.json")
        assert result.exit_code == 2
        assert f"data: {tmp_path / 'empty'} or {tmp_path / 'empty' / 'vae'}: no config.json in it" in result.stderr
        assert "trial 2: data: /nope/vae: no such folder (vae.pretrained_model_name)" in result.stderr
        assert tree(tmp_path) == before
    assert not (tmp_path / "outputs").exists()
