"""What every task promises; a new task is shown here by one line in `CONFIGS`."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detection_parts import TINY_DETECTION
from diffusion_parts import TINY_DIFFUSION
from PIL import Image
from trainer_parts import TINY, same

from trainer import randomness
from trainer.api import cheap_evaluation, check_data, known_keys, metric_of, prepare_data, resolve_config, tasks
from trainer.checkpoint import load_checkpoint, save_checkpoint
from trainer.data import EpochBatches, build_loader, part_sizes
from trainer.run import open_run, task_for
from trainer.task import Rows, Task

CONFIGS: dict[str, dict[str, Any]] = {"captioning": TINY, "detection": TINY_DETECTION, "diffusion": TINY_DIFFUSION}


@pytest.fixture(params=sorted(CONFIGS), scope="module")
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = str(tmp_path_factory.mktemp(request.param))
    return resolve_config(CONFIGS[request.param], {"checkpoint.dir": folder})


@pytest.fixture(scope="module")
def opened(config: Any) -> tuple[Task, Rows, torch.nn.Module]:
    prepare_data(config, lambda _done, _of: None)
    randomness.seed_all(config.seed, deterministic=True)
    task = task_for(config)
    rows = task.open_rows()
    return task, rows, task.build_model(weights=True)


def batches_of(source: Any, size: int) -> Iterator[Any]:
    batches = EpochBatches(len(source), size, 0, False)
    return iter(build_loader(source, batches, num_workers=0, prefetch_factor=1, pin_memory=False))


def test_every_task_is_greeted() -> None:
    assert set(CONFIGS) == set(tasks())


def test_metric_and_cheap_evaluation(config: Any) -> None:
    metric = metric_of(config)
    assert metric.direction in ("maximize", "minimize")
    assert metric.better(2.0, 1.0) == (metric.direction == "maximize")
    cheap = cheap_evaluation(config.task)
    assert set(cheap) <= set(known_keys(config.task))
    assert resolve_config(config.plain(), cheap).task == config.task


def test_the_summary_counts_what_is_opened(config: Any, opened: tuple[Task, Rows, torch.nn.Module]) -> None:
    _, rows, _ = opened
    summary = check_data(config)
    assert (len(rows.train), len(rows.val)) == (summary.train_rows, summary.val_images)
    assert summary.words
    assert summary.fingerprint


def test_a_fetch_is_a_pure_function_of_its_keys(opened: tuple[Task, Rows, torch.nn.Module]) -> None:
    _, rows, _ = opened
    for source in (rows.train, rows.val):
        keys = [(1, 0), (1, 2), (1, 1)]
        before = randomness.capture()
        first = source.__getitems__(keys)
        source.__getitems__([(2, 3)])
        assert same(source.__getitems__(keys), first)
        assert same(randomness.capture(), before)
        assert first["weight"] > 0


def test_the_loss_is_a_sum_with_gradients_for_every_trained_parameter(
    opened: tuple[Task, Rows, torch.nn.Module],
) -> None:
    task, rows, model = opened
    model.eval()  # without dropout two halves are one whole
    whole = task.loss(model, rows.train.__getitems__([(1, n) for n in range(4)]))
    halves = [task.loss(model, rows.train.__getitems__([(1, n), (1, n + 1)])) for n in (0, 2)]
    assert float(whole.detach()) == pytest.approx(float(sum(half.detach() for half in halves)), rel=1e-4)
    whole.backward()
    parts = task.parts(model)
    given = [*parts.main, *parts.pretrained]
    assert len({id(parameter) for parameter in given}) == len(given)
    assert {id(p) for p in given} == {id(p) for p in model.parameters() if p.requires_grad}
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in given)
    model.zero_grad()


# No part of one image: PyTorch 2.15's BatchNorm has a wrong gradient of its bias there on a CPU.
@pytest.mark.parametrize("largest", [2, 3, 4, 9])
def test_parts_of_a_batch_add_up_to_it(largest: int, opened: tuple[Task, Rows, torch.nn.Module]) -> None:
    task, rows, model = opened
    model.eval()  # without dropout and the statistics of a batch
    batch = rows.train.__getitems__([(1, n) for n in range(8)])
    parts = task.split(batch, largest)
    assert [len(part["images"]) for part in parts] == part_sizes(8, largest)
    assert same(torch.cat([part["images"] for part in parts]), batch["images"])
    gradients = []
    for pieces in ([batch], parts):
        losses = [task.loss(model, piece) for piece in pieces]
        torch.stack(losses).sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
        model.zero_grad()
        gradients[-1].append(torch.stack(losses).sum().detach())
    for whole, summed in zip(*gradients, strict=True):
        assert torch.allclose(whole, summed, rtol=1e-4, atol=1e-4 * float(whole.abs().max()) + 1e-6)
    with torch.inference_mode():
        batches = list(batches_of(rows.val, 5))
        whole_scores = task.evaluate(model, iter(batches))
        in_parts = task.evaluate(model, (part for one in batches for part in task.split(one, largest)))
    assert in_parts.samples == whole_scores.samples
    assert dict(in_parts.metrics) == pytest.approx(dict(whole_scores.metrics), rel=1e-4)


def test_evaluation_is_deterministic_and_draws_nothing(config: Any, opened: tuple[Task, Rows, torch.nn.Module]) -> None:
    task, rows, model = opened
    model.eval()
    before = randomness.capture()
    with torch.inference_mode():
        scores = [task.evaluate(model, batches_of(rows.val, 3)) for _ in range(2)]
        other_batches = task.evaluate(model, batches_of(rows.val, 8))
    assert scores[0] == scores[1]
    assert same(randomness.capture(), before)
    primary = metric_of(config).name
    assert {"val_loss", primary if primary != "loss" else "val_loss"} <= set(scores[0].metrics)
    assert all(np.isfinite(value) for value in scores[0].metrics.values())
    for name, value in scores[0].metrics.items():
        assert other_batches.metrics[name] == pytest.approx(value, rel=1e-4), name


def test_a_model_lives_on_from_its_checkpoint_alone(
    config: Any, opened: tuple[Task, Rows, torch.nn.Module], tmp_path: Path
) -> None:
    task, rows, model = opened
    file = io.BytesIO()
    torch.save({"extras": task.extras(), "model": model.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    reborn = task_for(config, state["extras"])
    twin = reborn.build_model(weights=False)
    twin.load_state_dict(state["model"])
    with torch.inference_mode():
        assert reborn.evaluate(twin.eval(), batches_of(rows.val, 4)) == task.evaluate(
            model.eval(), batches_of(rows.val, 4)
        )
    for name in ("b", "a"):  # images, or prompts where images are made
        Image.new("RGB", (50, 30), (200, 10, 10)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("a red circle")
    (tmp_path / "notes.md").write_text("neither")
    with torch.inference_mode():
        found = list(reborn.predict(twin, tmp_path, torch.device("cpu")))
    names = [next(iter(row.values())) for row in found]
    assert [Path(str(name)).stem for name in names] == ["a", "b"]
    for value in (value for row in found for value in row.values()):
        assert isinstance(value, str) or Image.open(io.BytesIO(value)).format == "PNG"


def test_everything_is_all_usable_images(config: Any) -> None:
    prepare_data(config, lambda _done, _of: None)
    summary = check_data(config)
    rows = task_for(config).open_rows(everything=True)
    assert len(rows.val) == summary.train_split_images + summary.val_images


def test_the_whole_state_is_loaded_with_weights_only(config: Any, tmp_path: Path) -> None:
    run = open_run(config, None, 1, lambda _line: None)
    save_checkpoint(run.state(), tmp_path / "x.pth")
    assert same(load_checkpoint(tmp_path / "x.pth"), run.state())
    run.close()


def test_files_metric_and_configuration_need_no_torch() -> None:
    """`plan` must answer in a second or two: nothing on this side of the door imports torch."""
    code = """
import sys
from trainer.api import cheap_evaluation, check_data, known_keys, metric_of, resolve_config, tasks
for task in tasks():
    known_keys(task), cheap_evaluation(task)
config = resolve_config({"task": "captioning", "data": {"scenes": {}}})
metric_of(config), check_data(config)
loaded = [name for name in ("torch", "torchvision", "optuna", "sacrebleu") if name in sys.modules]
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
