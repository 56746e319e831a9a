"""The library's detectors as this project builds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from detection_parts import tiny_detection
from torch import nn
from trainer_parts import same

from trainer.api import ConfigError, try_out
from trainer.learning import randomness
from trainer.run.run import task_for
from trainer.task import library_checks
from trainer.tasks.detection.detectors import DETECTORS
from trainer.tasks.detection.model import BACKBONE, build_detector
from trainer.tasks.detection.task import targets

CLASSES = ("circle", "cross", "square", "star", "triangle")
NAMES = sorted(DETECTORS)


def batch_of(counts: list[int], side: int = 64, classes: int = 5) -> dict[str, Any]:
    """Random images with so many boxes each."""
    generator = torch.Generator().manual_seed(sum(counts))
    n = sum(counts)
    centres = torch.rand(n, 2, generator=generator) * 0.4 + 0.3
    boxes = torch.cat([centres, torch.rand(n, 2, generator=generator) * 0.3 + 0.1], dim=1)
    return {
        "images": torch.randint(0, 255, (len(counts), 3, side, side), dtype=torch.uint8, generator=generator),
        "boxes": boxes,
        "labels": torch.randint(0, classes, (n,), generator=generator),
        "counts": counts,
        "weight": max(1, n),
    }


def part(batch: dict[str, Any], first: int, last: int) -> dict[str, Any]:
    start, end = sum(batch["counts"][:first]), sum(batch["counts"][:last])
    counts = batch["counts"][first:last]
    boxes = {name: batch[name][start:end] for name in ("boxes", "labels")}
    return {"images": batch["images"][first:last], **boxes, "counts": counts, "weight": max(1, sum(counts))}


def built(folder: Path, name: str = "rt_detr_v2", **overrides: Any) -> tuple[Any, nn.Module]:
    config = tiny_detection(folder, model__name=name, **overrides)
    randomness.seed_all(0, deterministic=True)
    task = task_for(config)
    task.classes = list(CLASSES)
    return task, task.build_model(weights=True)


@pytest.mark.parametrize("name", NAMES)
def test_every_detector_trains_and_lives_on_from_its_architecture(name: str, tmp_path: Path) -> None:
    task, model = built(tmp_path, name, model__num_denoising=8)
    batch = batch_of([2, 0, 3, 1])
    parts = task.parts(model)
    optimizer = torch.optim.AdamW([*parts.main, *parts.pretrained], 1e-3)
    losses = []
    for _ in range(12):
        loss = task.loss(model.train(), batch) / batch["weight"]
        losses.append(float(loss.detach()))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert sum(losses[-3:]) < 0.98 * sum(losses[:3])
    twin = task_for(task.config, task.extras()).build_model(weights=False)
    twin.load_state_dict(model.state_dict())
    with torch.inference_mode():
        one, other = (net.eval()(task._pixels(batch["images"])) for net in (model, twin))
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.pred_boxes, other.pred_boxes)


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_is_tried_out_before_anything_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_detection(tmp_path, model__name=name, model__num_denoising=8)
    monkeypatch.setattr(library_checks, "VERDICTS", library_checks.Verdicts())
    try_out(config)
    assert len(library_checks.VERDICTS.passed) == 1
    try_out(tiny_detection(tmp_path, model__name=name, model__num_denoising=8, model__dropout=0.2, seed=9))
    assert len(library_checks.VERDICTS.passed) == 1, "what does not change the sizes is not tried again"
    unknown = config.model.model_copy(update={"backbone_stem": 12})  # as if no rule of ours knew of it
    with pytest.raises(ConfigError, match=f"model: the library cannot build or train this {name} .*; change its sizes"):
        try_out(config.model_copy(update={"model": unknown}))


@pytest.mark.parametrize("name", NAMES)
def test_from_random_weights_everything_learns(name: str, tmp_path: Path) -> None:
    task, model = built(tmp_path, name, model__num_denoising=8)
    backbone = model.get_submodule(BACKBONE)
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(bool((norm.weight == 1).all()) for norm in norms)
    assert not [module for module in model.modules() if "Frozen" in type(module).__name__]
    task.loss(model.train(), batch_of([2, 3])).backward()
    idle = [key for key, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert not idle
    parts = task.parts(model)
    assert {id(parameter) for parameter in parts.pretrained} == {id(parameter) for parameter in backbone.parameters()}


@pytest.mark.parametrize("name", ["rt_detr_v2", "d_fine"])
def test_the_loss_of_a_batch_is_the_sum_of_its_parts(name: str, tmp_path: Path) -> None:
    task, model = built(tmp_path, name)
    batch = batch_of([2, 0, 3, 1])
    model.eval()
    with torch.no_grad():
        whole = float(task.loss(model, batch))
        halves = float(task.loss(model, part(batch, 0, 2))) + float(task.loss(model, part(batch, 2, 4)))
    assert whole == pytest.approx(halves, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_batches_without_a_single_box_have_a_loss(name: str, tmp_path: Path) -> None:
    task, model = built(tmp_path, name, model__num_denoising=8)
    loss = task.loss(model.train(), batch_of([0, 0]))
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_draws_nothing_and_denoises_nothing(name: str, tmp_path: Path) -> None:
    task, model = built(tmp_path, name, model__num_denoising=8)
    batch = batch_of([2, 3])
    before = randomness.capture()
    with torch.inference_mode():
        output = model.eval()(task._pixels(batch["images"]), labels=targets(batch))
    assert same(randomness.capture(), before)
    assert output.logits.shape[1] == 12
    assert not [key for key in output.loss_dict if "_dn_" in key]


@pytest.mark.parametrize("name", NAMES)
def test_reduced_precision_computes_the_loss_in_full(name: str, tmp_path: Path) -> None:
    task, model = built(tmp_path, name, model__num_denoising=8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = task.loss(model.train(), batch_of([2, 3]))
    assert loss.dtype == torch.float32
    loss.backward()


@pytest.mark.parametrize("name", NAMES)
def test_a_diverged_network_has_a_loss_that_is_no_number(name: str, tmp_path: Path) -> None:
    task, model = built(tmp_path, name)
    with torch.no_grad():
        for parameter in model.get_submodule(BACKBONE).parameters():
            parameter.fill_(torch.nan)
    assert torch.isnan(task.loss(model.train(), batch_of([2, 3])))


@pytest.mark.parametrize("name", NAMES)
def test_other_sizes_of_images_pass_through(name: str, tmp_path: Path) -> None:
    task, model = built(tmp_path, name)
    for side in (48, 96):
        with torch.inference_mode():
            assert torch.isfinite(task.loss(model.eval(), batch_of([1, 2], side=side)))


def test_the_loss_has_the_weights_that_were_asked_for(tmp_path: Path) -> None:
    batch = batch_of([2, 3])
    parts = {}
    for weight in (1.0, 3.0):
        task, model = built(tmp_path, criterion__giou_weight=weight)
        with torch.no_grad():
            parts[weight] = model.eval()(task._pixels(batch["images"]), labels=targets(batch)).loss_dict
    assert float(parts[3.0]["loss_giou"]) == pytest.approx(3 * float(parts[1.0]["loss_giou"]), rel=1e-5)
    assert float(parts[3.0]["loss_bbox"]) == pytest.approx(float(parts[1.0]["loss_bbox"]), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_pretrained_weights_from_a_folder_with_new_heads(name: str, tmp_path: Path) -> None:
    _, old = built(tmp_path, name, model__num_denoising=8)
    with torch.no_grad():
        for module in old.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(0.7)
    old.save_pretrained(tmp_path / "saved")
    for classes in (CLASSES, ("cat", "dog", "cow")):
        config = tiny_detection(tmp_path / "run", model__name=name, model__pretrained=str(tmp_path / "saved"))
        model = build_detector(config, classes)
        assert model.config.num_labels == len(classes)
        assert model.config.id2label == dict(enumerate(classes))
        before, after = old.state_dict(), model.state_dict()
        changed = {key for key in after if key in before and before[key].shape != after[key].shape}
        assert bool(changed) == (classes != CLASSES)
        assert all(any(word in key for word in ("class", "score")) for key in changed)
        kept = [key for key in after if key in before and key not in changed and "norm" in key]
        assert kept
        assert all(torch.equal(after[key].float(), before[key].float()) for key in kept), "never set to 1"
        task = task_for(config)
        task.classes = list(classes)
        model = task.build_model(weights=True)
        assert torch.isfinite(task.loss(model.train(), batch_of([2, 1], classes=len(classes))))
        twin = task_for(config, task.extras()).build_model(weights=False)
        twin.load_state_dict(model.state_dict())


def test_pretrained_weights_that_cannot_be_had_name_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = tiny_detection(tmp_path, model__pretrained="someone/no-such-model")
    with pytest.raises(
        ConfigError, match=r"model\.pretrained: no rt_detr_v2 .*someone/no-such-model.*=FOLDER"
    ) as caught:
        build_detector(config, CLASSES)
    assert "model.pretrained=false" in str(caught.value)
    (tmp_path / "empty").mkdir()
    config = tiny_detection(tmp_path, model__pretrained=str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=r"no rt_detr_v2 could be loaded from .*empty"):
        build_detector(config, CLASSES)


def test_pretrained_weights_of_another_detector_are_refused(tmp_path: Path) -> None:
    built(tmp_path, "detr")[1].save_pretrained(tmp_path / "saved")
    config = tiny_detection(tmp_path, model__pretrained=str(tmp_path / "saved"))
    with pytest.raises(ConfigError, match=r"saved is a detr, not a rt_detr_v2"):
        build_detector(config, CLASSES)
