"""The captioning model: what is frozen stays, what has a rate of its own has it, weights come from files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch.nn import functional as F
from trainer_parts import same, session_of, tiny

from trainer.api import ConfigError, DataError, Hooks
from trainer.tasks.captioning import model as captioner
from trainer.tasks.captioning.config import CaptioningModel
from trainer.tasks.captioning.model import Captioner, build_backbone, thin_resnet


def copied(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_a_frozen_encoder_stays_as_it_is(tmp_path: Path) -> None:
    with session_of(tiny(tmp_path, model__encoder_fine_tune=False)) as session:
        model = session.run.model
        assert isinstance(model, Captioner)
        backbone, project = copied(model.encoder.backbone), copied(model.encoder.project)
        modes: list[bool] = []
        session.train(1, Hooks(heartbeat=lambda _beat: modes.append(model.encoder.backbone.training)))
        assert modes == [False] * 8
        assert same(copied(model.encoder.backbone), backbone), "weights and batch statistics alike"
        assert not same(copied(model.encoder.project), project)
        assert len(session.run.optimizer.param_groups) == 1


def test_a_trained_encoder_moves_at_its_own_rate(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"training__optimizer__encoder_lr": 1e-4, "training__scheduler__type": "constant"}
    with session_of(tiny(tmp_path, **settings)) as session:
        model = session.run.model
        assert isinstance(model, Captioner)
        main, pretrained = session.run.optimizer.param_groups
        assert [group["lr"] for group in (main, pretrained)] == [5e-3, 1e-4]
        assert {id(p) for p in pretrained["params"]} == {id(p) for p in model.encoder.backbone.parameters()}
        before = copied(model.encoder.backbone)
        session.train(1, Hooks(heartbeat=lambda _beat: None))
        assert model.encoder.backbone.training is False, "the last thing done was an evaluation"
        assert not same(copied(model.encoder.backbone), before)


def test_one_rate_for_all_unless_said_otherwise(tmp_path: Path) -> None:
    with session_of(tiny(tmp_path)) as session:
        assert {group["lr"] for group in session.run.optimizer.param_groups} == {5e-3}


def test_shapes_from_pixels_to_words() -> None:
    settings = CaptioningModel(
        backbone="resnet10_thin", pretrained=False, encoder_fine_tune=True, encoded_image_size=3, embed_size=6,
        encoder_dim=5, decoder_dim=7,
    )  # fmt: skip
    model = Captioner(11, settings).eval()
    images, words = torch.rand(2, 3, 32, 32), torch.randint(0, 11, (2, 6))
    places = model.encoder(images)
    assert places.shape == (2, 9, 5)
    assert torch.equal(model.image_vectors(images), places.mean(dim=1))
    assert model(images, words).shape == (2, 5, 11)
    shorter = model(images, words[:, :4])
    assert torch.allclose(model(images, words)[:, :3], shorter, atol=1e-6), "a word knows only those before it"


def test_the_training_loss_ignores_padding_and_the_reported_one_smoothing(tmp_path: Path) -> None:
    with session_of(tiny(tmp_path, criterion__label_smoothing=0.5)) as session:
        task: Any = session.run.task
        words = torch.tensor([[1, 5, 6, 2], [1, 5, 2, 0]])
        logits = torch.randn(2, 3, len(task.vocabulary), requires_grad=True)
        kept = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
        plain: Any = sum(F.cross_entropy(logits[i, j], words[i, j + 1], reduction="sum") for i, j in kept)
        smooth: Any = sum(
            F.cross_entropy(logits[i, j], words[i, j + 1], reduction="sum", label_smoothing=0.5) for i, j in kept
        )
        assert float(task._loss_of(logits, words).detach()) == pytest.approx(float(smooth.detach()), rel=1e-5)
        assert float(task._loss_of(logits.detach(), words)) == pytest.approx(float(plain.detach()), rel=1e-5)


@pytest.mark.parametrize(("backbone", "channels"), [("resnet10_thin", 128), ("resnet18", 512), ("resnet50", 2048)])
def test_backbones_give_maps(backbone: Any, channels: int) -> None:
    net, found = build_backbone(CaptioningModel(backbone=backbone, pretrained=False), weights=True)
    assert found == channels
    with torch.no_grad():
        assert net.eval()(torch.rand(1, 3, 64, 64)).shape[:2] == (1, channels)


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_from_a_file(wrapped: bool, tmp_path: Path) -> None:
    net, _ = thin_resnet()
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": net.state_dict()} if wrapped else net.state_dict(), path)
    settings = CaptioningModel(backbone="resnet10_thin", weights=path)
    assert same(build_backbone(settings, weights=True)[0].state_dict(), net.state_dict())
    assert not same(build_backbone(settings, weights=False)[0].state_dict(), net.state_dict())


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_weights_that_are_none_are_errors_that_name_the_file(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "weights.pth"
    contents = {
        "evil": pickle.dumps(Evil(mark), protocol=2),
        "text": b"no weights",
        "empty": b"",
    }
    for content in contents.values():
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{path}: not a file of weights"):
            build_backbone(CaptioningModel(backbone="resnet10_thin", weights=path), weights=True)
    assert not mark.exists()
    net, _ = thin_resnet()
    for state, words in (
        ([1, 2], "a list in place of tensors by name"),
        ({"conv": torch.ones(1)}, "weights of another model"),
        ({**net.state_dict(), "0.weight": torch.ones(1)}, "weights of another model"),
    ):
        torch.save(state, path)
        with pytest.raises(DataError, match=words):
            build_backbone(CaptioningModel(backbone="resnet10_thin", weights=path), weights=True)
    with pytest.raises(ConfigError, match=r"model\.weights: .*no such file"):
        build_backbone(CaptioningModel(backbone="resnet18", weights=tmp_path / "gone.pth"), weights=True)


def test_weights_that_cannot_be_fetched_name_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_name: str, weights: str | None) -> Any:
        raise URLError(f"no route to {weights}")

    monkeypatch.setattr(captioner, "get_model", unreachable)
    with pytest.raises(ConfigError, match=r"model\.pretrained: .*model\.weights=PATH.*model\.pretrained=false"):
        build_backbone(CaptioningModel(backbone="resnet50"), weights=True)
