"""Backbones by name: channels, classes, weights from files, the last layer's own rate, sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from classification_parts import tiny_classification, write_folders
from safetensors.torch import save_file
from torchvision.models import get_model
from trainer_parts import trained

from trainer.api import ConfigError, DataError
from trainer.checkpoints.files import FORMAT, LAST, PARTS, load_checkpoint, save_checkpoint
from trainer.learning.optim import build_optimizer
from trainer.run.run import task_for
from trainer.tasks.classification import backbones
from trainer.tasks.classification.backbones import build_backbone, head_of, statistics_of
from trainer.tasks.classification.config import ClassificationModel

# Of each family one that is quick to build.
MODELS = [
    ("torchvision", "squeezenet1_1", 64),
    ("torchvision", "shufflenet_v2_x0_5", 32),
    ("torchvision", "mobilenet_v3_small", 32),
    ("torchvision", "mnasnet0_5", 32),
    ("torchvision", "densenet121", 32),
    ("torchvision", "googlenet", 32),
    ("torchvision", "resnet18", 32),
    ("timm", "test_resnet", 32),
    ("timm", "test_vit", 32),
    ("timm", "test_efficientnet", 32),
    ("timm", "test_convnext", 32),
]


def settings_of(library: str, name: str, **more: Any) -> ClassificationModel:
    return ClassificationModel(library=library, backbone_name=name, **more)


@pytest.mark.core
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("library", "name", "side"), MODELS)
def test_any_backbone_takes_channels_and_gives_classes(library: str, name: str, side: int, channels: int) -> None:
    model = build_backbone(settings_of(library, name, in_channels=channels), 7, side, weights=True)
    images = torch.rand(2, channels, side, side)
    with torch.no_grad():
        assert model.eval()(images).shape == (2, 7)
    assert model.train()(images).shape == (2, 7)
    head = [parameter for parameter in model.parameters() if id(parameter) in head_of(model)]
    assert [len(parameter) for parameter in head] == [7] * len(head)
    assert 1 <= len(head) <= 2


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(("library", "name"), [("torchvision", "shufflenet_v2_x0_5"), ("timm", "test_resnet")])
def test_weights_come_from_a_file(library: str, name: str, suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = get_model(name) if library == "torchvision" else timm.create_model(name)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": source.state_dict()}, path)
    else:
        save_file(source.state_dict(), path)
    torch.manual_seed(2)
    model = build_backbone(settings_of(library, name, weights=path), 5, 32, weights=True)
    head = head_of(model)
    for key, value in model.named_parameters():
        if id(value) not in head:
            assert torch.equal(value, source.state_dict()[key]), key
    grey = build_backbone(settings_of(library, name, weights=path, in_channels=1), 5, 32, weights=True)
    first = next(name for name, part in grey.named_modules() if isinstance(part, torch.nn.Conv2d))
    expected = source.get_submodule(first).weight.sum(1, keepdim=True)
    assert torch.allclose(grey.get_submodule(first).weight, expected, atol=1e-6)
    many = build_backbone(settings_of(library, name, weights=path, in_channels=6), 5, 32, weights=True)
    expected = source.get_submodule(first).weight.repeat(1, 2, 1, 1) / 2.0
    assert torch.allclose(many.get_submodule(first).weight, expected, atol=1e-6), "repeated, and as bright"
    bare = build_backbone(settings_of(library, name, weights=path), 5, 32, weights=False)
    assert not torch.equal(next(bare.parameters()), next(source.parameters())), "a checkpoint follows"


def test_a_head_that_fits_is_kept(tmp_path: Path) -> None:
    source = timm.create_model("test_resnet", num_classes=5)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model = build_backbone(settings_of("timm", "test_resnet", weights=tmp_path / "w.pth"), 5, 32, weights=True)
    assert torch.equal(model.fc.weight, source.fc.weight)  # type: ignore[union-attr, arg-type]


def test_weights_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_convnext").state_dict(), tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"other\.pth: weights of another model, .* missing: .*; the file holds "):
        build_backbone(settings_of("timm", "test_resnet", weights=tmp_path / "other.pth"), 5, 32, weights=True)
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    for name, error, words in (
        ("none.pth", ConfigError, r"model\.weights: .*none\.pth: no such file"),
        ("x.safetensors", DataError, "not a file of weights"),
    ):
        with pytest.raises(error, match=words):
            build_backbone(settings_of("timm", "test_resnet", weights=tmp_path / name), 5, 32, weights=True)


def test_a_checkpoint_of_this_program_belongs_to_another_key(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    save_checkpoint({**dict.fromkeys(PARTS), "format": FORMAT}, path)
    with pytest.raises(ConfigError, match=r"model\.weights: .* checkpoint of this program.*checkpoint\.weights=.*best"):
        build_backbone(settings_of("timm", "test_resnet", weights=path), 5, 32, weights=True)


@pytest.mark.slow
def test_a_run_on_other_classes_starts_from_another_run(tmp_path: Path) -> None:
    """All but the last layer, with the averaged weights where there are some."""
    trained(tiny_classification(tmp_path / "first", training__ema_decay=0.5), until=1)
    state = load_checkpoint(tmp_path / "first" / LAST)
    model = build_backbone(settings_of("timm", "test_resnet", weights=tmp_path / "first" / LAST), 7, 32, weights=True)
    head = head_of(model)
    for name, value in model.named_parameters():
        assert (id(value) in head) != torch.equal(value, state["average"][name]), name
    write_folders(tmp_path / "images", {"red": 6, "blue": 6})
    other = {"data.images_dir": str(tmp_path / "images"), "model.weights": str(tmp_path / "first" / LAST)}
    trained(tiny_classification(tmp_path / "second", other), until=1)
    whole = {"model.weights": None, "checkpoint.weights": other["model.weights"]}
    with pytest.raises(DataError, match=r"knows no class blue, red.*other classes starts from it with model\.weights="):
        trained(tiny_classification(tmp_path / "third", other, whole))


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_weights_that_cannot_be_fetched_name_the_way_out(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise OSError("no network here")

    settings = settings_of(library, "resnet18", pretrained=True)
    made = backbones._made(settings, 5, 32)
    monkeypatch.setattr(backbones, "_made", lambda *_: made)
    monkeypatch.setattr(backbones.timm, "create_model", refused)
    monkeypatch.setattr(backbones, "get_model_weights", refused)
    with pytest.raises(ConfigError, match=r"model\.pretrained: .*resnet18 could not be fetched .*model\.weights=PATH"):
        build_backbone(settings, 5, 32, weights=True)


def test_the_backbone_says_how_it_wants_its_pixels() -> None:
    assert statistics_of(settings_of("torchvision", "resnet18")).mean == (0.485, 0.456, 0.406)
    assert statistics_of(settings_of("timm", "test_resnet")).mean == (0.5, 0.5, 0.5)
    assert statistics_of(settings_of("torchvision", "resnet18", in_channels=4)).std == (0.229, 0.224, 0.225, 0.5)
    grey = statistics_of(settings_of("torchvision", "resnet18", in_channels=2))
    assert grey.mean == pytest.approx((0.449, 0.5), abs=1e-3)


def test_the_last_layer_has_its_own_rate(tmp_path: Path) -> None:
    config = tiny_classification(tmp_path, training__optimizer__lr=0.01, training__optimizer__encoder_lr=0.001)
    task = task_for(config)
    task.open_rows()
    optimizer = build_optimizer(config.training.optimizer, task.parts(task.build_model(weights=True)))
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.001]
    assert sizes[0] < 1000 < sizes[1]


@pytest.mark.parametrize(("library", "name"), [("torchvision", "vit_b_16"), ("timm", "test_vit")])
def test_a_transformer_of_one_size_says_so(library: str, name: str, tmp_path: Path) -> None:
    overrides = {"model__library": library, "model__backbone_name": name}
    with pytest.raises(ConfigError, match=rf"model\.backbone_name: {name} .*40 px"):
        build_backbone(settings_of(library, name), 5, 40, weights=True)
    if library == "torchvision":
        return
    task = task_for(tiny_classification(tmp_path, **overrides))
    task.open_rows()
    task.build_model(weights=True)
    with pytest.raises(ConfigError, match=r"data\.image_size: test_vit was built for images of 32 px .*such as 48 px"):
        task.open_rows(image_size=48)
    again = task_for(tiny_classification(tmp_path, **overrides, data__image_size=48), task.extras())
    with pytest.raises(ConfigError, match="built for images of 32 px"):
        again.open_rows()


def test_images_too_small_for_a_backbone_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"squeezenet1_1 takes no images of 16 px .*data\.image_size"):
        build_backbone(settings_of("torchvision", "squeezenet1_1"), 5, 16, weights=True)


def test_unknown_weights_behind_the_name_are_refused(tmp_path: Path) -> None:
    config = tiny_classification(tmp_path, model__backbone_name="test_resnet.nope")
    with pytest.raises(ConfigError, match=r"model\.backbone_name: Invalid pretrained tag \(nope\) for test_resnet"):
        task_for(config)
