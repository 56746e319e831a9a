"""Features of a frozen encoder, once for all epochs and runs: training from them is training with the encoder."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trainer_parts import same, session_of, stop_after, tiny, trained, training_state

import trainer.store.image_cache
from trainer.api import Hooks, Outcome, cache_dir, evaluate, predict
from trainer.checkpoints.files import LAST
from trainer.tasks.captioning import features
from trainer.tasks.captioning.model import Captioner
from trainer.tasks.captioning.rows import Crops

FROZEN: dict[str, Any] = {"model__encoder_fine_tune": False, "data__crops_per_image": 3}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache folder, and a process that has opened nothing yet."""
    monkeypatch.setenv("RUNGWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trainer.store.image_cache, "KEPT", trainer.store.image_cache.KeptOpen())


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that a frozen encoder was run on, for the cache and for training alike."""
    sizes: list[int] = []
    plain = features.normalise

    def counted(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return plain(images)

    monkeypatch.setattr(features, "normalise", counted)
    monkeypatch.setattr("trainer.tasks.captioning.task.normalise", counted)
    return sizes


def stores() -> list[Path]:
    return sorted((cache_dir() / "features").glob("*.rows"))


def losses(outcome: Outcome) -> list[float]:
    return [evaluation.metrics[name] for evaluation in outcome.evaluations for name in ("train_loss", "val_loss")]


@pytest.mark.parametrize("more", [
    {}, {"data__crops_per_image": 1}, {"training__ema_decay": 0.9, "training__accumulate_grad_batches": 2},
    {"training__resize_schedule": [[1, 20], [2, 28]]}, {"training__overfit": True}, {"training__precision": "bf16"},
])  # fmt: skip
def test_training_from_features_is_training_with_the_encoder(more: dict[str, Any], tmp_path: Path) -> None:
    settings = {**FROZEN, **more, "training__epochs": 3}
    kept = trained(tiny(tmp_path / "kept", **settings))
    assert stores()
    fresh = trained(tiny(tmp_path / "fresh", **settings, data__cache_gb=0.0))
    tolerance = 2e-2 if "training__precision" in more else 2e-3
    assert losses(kept) == pytest.approx(losses(fresh), rel=tolerance)
    one, other = (training_state(tmp_path / name)["model"] for name in ("kept", "fresh"))
    assert one.keys() == other.keys()
    for name in one:
        assert torch.allclose(one[name].float(), other[name].float(), atol=20 * tolerance), name
        if "backbone" in name:
            assert torch.equal(one[name], other[name]), name


def test_the_features_are_those_of_the_crop_that_the_images_show(tmp_path: Path) -> None:
    batches = []
    for cache_gb in (1.0, 0.0):
        with session_of(tiny(tmp_path, **FROZEN, data__cache_gb=cache_gb)) as session:
            model = session.run.model.eval()
            assert isinstance(model, Captioner)
            loaders = session.run.loaders
            loaders.batches.epoch = 2
            batches.append([*loaders.train, *loaders.val])
    for known, plain in zip(*batches, strict=True):
        assert "images" not in known
        with torch.no_grad():
            expected = model.encoder.features(features.normalise(plain["images"]))
        assert known["features"].dtype == torch.float16
        assert torch.allclose(known["features"].float(), expected, rtol=2e-3, atol=1e-3)
        assert same(known["words"], plain["words"])


def test_the_encoder_runs_once_for_all_epochs_and_runs(tmp_path: Path, encoded: list[int]) -> None:
    said: list[str] = []
    for number, dropout in enumerate((0.0, 0.3, 0.5)):
        config = tiny(tmp_path / str(number), **FROZEN, model__dropout=dropout, training__optimizer__lr=1e-3 + dropout)
        trained(config, hooks=Hooks(say=said.append))
    assert sum(encoded) == 3 * 32 + 8 + 1, "three crops to train on, one to validate, and one for the shape"
    assert len(stores()) == 1
    (words,) = [line for line in said if "features" in line]
    assert "features of 104 crops computed in " in words


@pytest.mark.parametrize("change", [
    {"seed": 4, "data__split_seed": 3}, {"data__image_size": 24}, {"data__crops_per_image": 2},
    {"training__subset_seed": 1}, {"training__subset_size": 20},
])  # fmt: skip
def test_other_weights_images_or_crops_are_other_features(change: dict[str, Any], tmp_path: Path) -> None:
    for number, settings in enumerate((FROZEN, {**FROZEN, **change}, FROZEN)):
        with session_of(tiny(tmp_path / str(number), **settings)):
            pass
    assert len(stores()) == 2


def test_stopping_and_going_on_equals_never_having_stopped(tmp_path: Path) -> None:
    config = tiny(tmp_path / "run", **FROZEN)
    straight = trained(tiny(tmp_path / "straight", **FROZEN))
    stopped = trained(config, hooks=Hooks(should_stop=stop_after(11)))
    assert stopped.ending == "interrupted"
    trained(config, until=3, resume=True)
    for store in stores():
        store.unlink()  # computed again, from the checkpoint's weights
    assert trained(config, resume=True).step == straight.step
    assert same(training_state(tmp_path / "run"), training_state(tmp_path / "straight"))


def test_damaged_features_are_computed_again(tmp_path: Path, encoded: list[int]) -> None:
    trained(tiny(tmp_path / "one", **FROZEN))
    for store in stores():
        content = bytearray(store.read_bytes())
        content[-1000] ^= 4
        store.write_bytes(content)
    before = sum(encoded)
    trained(tiny(tmp_path / "two", **FROZEN))
    assert sum(encoded) == before + 3 * 32 + 8, "built again, without asking for the shape"
    assert same(training_state(tmp_path / "one"), training_state(tmp_path / "two"))


@pytest.mark.parametrize("settings", [
    {**FROZEN, "data__crops_per_image": 0}, {**FROZEN, "data__cache_gb": 0.0}, {"data__crops_per_image": 3},
])  # fmt: skip
def test_where_nothing_is_frozen_fixed_or_kept_batches_hold_pixels(settings: dict[str, Any], tmp_path: Path) -> None:
    with session_of(tiny(tmp_path, **settings)) as session:
        assert "images" in next(iter(session.run.loaders.train))
    assert not stores()


def test_beyond_the_limit_the_encoder_runs_and_it_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    with session_of(tiny(tmp_path, **FROZEN, data__cache_gb=5e-5), Hooks(say=said.append)) as session:
        assert "images" in next(iter(session.run.loaders.train))
    assert any("the frozen encoder runs in every epoch" in line for line in said)


def test_features_too_large_for_half_precision_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with session_of(tiny(tmp_path / "any", **FROZEN)) as session:
        model: Any = session.run.model
        state = model.encoder.backbone.state_dict()
        state["6.bn2.weight"].fill_(1e7)
        torch.save(state, path)
    said: list[str] = []
    with session_of(tiny(tmp_path / "run", **FROZEN, model__weights=str(path)), Hooks(say=said.append)) as session:
        assert "images" in next(iter(session.run.loaders.train))
    assert any("too large for a float16" in line for line in said)


def test_checkpoints_are_whole_and_serve_alone(tmp_path: Path) -> None:
    outcome = trained(tiny(tmp_path / "run", **FROZEN))
    metrics = evaluate(tmp_path / "run" / LAST, {}, everything=False)
    assert metrics["val_loss"] == pytest.approx(outcome.evaluations[-1].metrics["val_loss"], rel=2e-3)
    images = next(cache_dir().glob("*/images"))
    rows = list(predict(tmp_path / "run" / LAST, images, {}))
    assert len(rows) == 40


def test_a_run_does_not_live_on_in_its_features(tmp_path: Path) -> None:
    with session_of(tiny(tmp_path, **FROZEN)) as session:
        model = weakref.ref(session.run.model)
    del session
    gc.collect()
    assert model() is None


def test_fixed_crops_lie_apart_and_an_epoch_takes_one() -> None:
    crops = Crops(28, 32, 4, 42)
    images = np.arange(500)
    corners = np.stack([crops.corners(images, np.full(500, pick)) for pick in range(4)])
    assert corners.min() == 0
    assert corners.max() == 4
    assert len({tuple(corner) for corner in corners[:, 0].tolist()} | {tuple(c) for c in corners[:, 1].tolist()}) > 2
    drawn = [crops.drawn(3, epoch, images) for epoch in (1, 2, 1)]
    assert np.array_equal(drawn[0][0], drawn[2][0])
    assert not np.array_equal(drawn[0][1], drawn[1][1])
    assert set(drawn[0][1].tolist()) == {0, 1, 2, 3}
    assert np.array_equal(drawn[0][0], corners[drawn[0][1], images])
