"""What every task promises, as tests: inherit from `TaskContract`, name a small configuration, run pytest.

    from trainer.testing import TaskContract

    class TestMine(TaskContract):
        config = {"task": "my_package.my_module:MyTask", "data": {...}, "training": {"epochs": 2, "batch_size": 4}}

The configuration has at least 12 training and 3 validation rows, trains for two epochs or more within a second or two,
and mixes no samples of a batch with each other. Needs pytest.
"""

from __future__ import annotations

import io
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from trainer.api import (
    Hooks,
    cheap_evaluation,
    check_data,
    known_keys,
    loss_keys,
    metric_of,
    open_session,
    prepare_data,
    resolve_config,
    show_data,
    try_out,
)
from trainer.checkpoints.files import LAST, load_checkpoint, save_checkpoint
from trainer.config.section import ROLES
from trainer.data.batches import EpochBatches, build_loader
from trainer.learning import randomness
from trainer.run.run import open_run, task_for
from trainer.task.batches import Batch, RowSource, part_sizes
from trainer.task.protocols import Rows, Task


class Opened(typing.NamedTuple):
    """A task with its rows and an untrained model."""

    task: Task
    rows: Rows
    model: nn.Module


class TaskContract:
    """The contract tests of a task.

    `config` is a configuration as in YAML; override `configuration` where its data must be made first.
    """

    config: ClassVar[Mapping[str, Any]]
    _settings: ClassVar[Any]
    _opened: ClassVar[Opened]

    def configuration(self, folder: Path) -> Mapping[str, Any]:
        """The configuration to test; `folder` is empty, for data files."""
        return self.config

    def inputs(self, folder: Path) -> list[str]:
        """Writes inputs of `predict` into a folder; returns the stems of their names in the order of its predictions.

        An empty list: the task predicts nothing. By default: two images, two texts beside them, and something else.
        """
        for name in ("b", "a"):
            Image.new("RGB", (50, 30), (200, 10, 10)).save(folder / f"{name}.png")
            (folder / f"{name}.txt").write_text("a red circle")
        (folder / "notes.md").write_text("neither")
        return ["a", "b"]

    @pytest.fixture
    def settings(self, tmp_path_factory: pytest.TempPathFactory) -> Any:
        """The configuration, resolved, with its data prepared; once for all tests of a class."""
        cls = type(self)
        if "_settings" not in vars(cls):
            configuration = self.configuration(tmp_path_factory.mktemp("data"))
            run = {"checkpoint.dir": str(tmp_path_factory.mktemp("run")), "device": "cpu"}
            cls._settings = resolve_config(configuration, run)
            prepare_data(cls._settings, lambda _done, _of: None)
        return cls._settings

    @pytest.fixture
    def opened(self, settings: Any) -> Opened:
        """The task opened; once for all tests of a class."""
        cls = type(self)
        if "_opened" not in vars(cls):
            randomness.seed_all(settings.seed, deterministic=True)
            task = task_for(settings)
            rows = task.open_rows()
            cls._opened = Opened(task, rows, task.build_model(weights=True))
        return cls._opened

    def test_the_configuration_comes_back_from_plain_data(self, settings: Any) -> None:
        assert resolve_config(settings.plain()) == settings
        assert not [path for path, key in known_keys(settings.task).items() if not key.meaning], "keys have a meaning"

    def test_metric_and_cheap_evaluation(self, settings: Any) -> None:
        metric = metric_of(settings)
        assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name), "the name stands in file names and columns"
        assert metric.label
        assert metric.direction in ("maximize", "minimize")
        assert metric.better(2.0, 1.0) == (metric.direction == "maximize")
        cheap = cheap_evaluation(settings.task)
        assert set(cheap) <= set(known_keys(settings.task))
        assert resolve_config(settings.plain(), cheap).task == settings.task

    def test_some_keys_are_declared_as_the_data_s_and_as_the_loss_s(self, settings: Any) -> None:
        keys = known_keys(settings.task)
        assert set(loss_keys(settings.task)) <= set(keys)
        assert [key for key in keys.values() if "data" in key.roles and key.kind != "path"]
        assert all(key.roles <= ROLES for key in keys.values())

    def test_the_summary_counts_what_is_opened(self, settings: Any, opened: Opened) -> None:
        summary = check_data(settings)
        assert (len(opened.rows.train), len(opened.rows.val)) == (summary.train_rows, summary.val_images)
        assert summary.words
        assert summary.fingerprint == check_data(settings).fingerprint

    def test_what_is_only_tried_out_later_is_sound(self, settings: Any) -> None:
        try_out(settings)

    def test_a_smaller_subset_is_a_prefix_of_a_larger_one(self, settings: Any) -> None:
        counts = [
            check_data(resolve_config(settings.plain(), {"training.subset_size": n})).train_images for n in (4, 8)
        ]
        assert counts == [4, 8]
        few, more = (
            task_for(resolve_config(settings.plain(), {"training.subset_size": n})).open_rows().train for n in (4, 8)
        )
        keys = [(1, row) for row in range(4)]
        assert same(few.__getitems__(keys), more.__getitems__(keys))

    def test_a_fetch_is_a_pure_function_of_its_keys(self, opened: Opened) -> None:
        for source in (opened.rows.train, opened.rows.val):
            keys = [(1, 0), (1, 2), (1, 1)]
            before = randomness.capture()
            first = source.__getitems__(keys)
            source.__getitems__([(2, 1)])
            assert same(source.__getitems__(keys), first)
            assert same(randomness.capture(), before)
            assert first["weight"] > 0

    def test_the_loss_is_a_sum_with_gradients_for_every_trained_parameter(self, opened: Opened) -> None:
        task, rows, model = opened
        model.eval()  # without dropout two halves add up to the whole
        whole = task.loss(model, rows.train.__getitems__([(1, n) for n in range(4)]))
        halves = [task.loss(model, rows.train.__getitems__([(1, n), (1, n + 1)])) for n in (0, 2)]
        assert float(whole.detach()) == pytest.approx(float(sum(half.detach() for half in halves)), rel=1e-4)
        whole.backward()  # type: ignore[no-untyped-call]
        parts = task.parts(model)
        given = [*parts.main, *parts.pretrained]
        assert len({id(parameter) for parameter in given}) == len(given)
        assert {id(p) for p in given} == {id(p) for p in model.parameters() if p.requires_grad}
        assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in given)
        model.zero_grad()

    # No part of one sample: PyTorch 2.15's BatchNorm has a wrong gradient of its bias there on a CPU.
    @pytest.mark.parametrize("largest", [2, 3, 4, 9])
    def test_parts_of_a_batch_add_up_to_it(self, largest: int, opened: Opened) -> None:
        task, rows, model = opened
        model.eval()  # without dropout and the statistics of a batch
        batch = rows.train.__getitems__([(1, n) for n in range(8)])
        parts = task.split(batch, largest)
        tensors = [name for name, value in batch.items() if isinstance(value, Tensor)]
        assert [len(part[tensors[0]]) for part in parts] == part_sizes(8, largest)
        for name in tensors:
            assert same(torch.cat([part[name] for part in parts]), batch[name]), name
        gradients = []
        for pieces in ([batch], parts):
            losses = [task.loss(model, piece) for piece in pieces]
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            gradients.append([p.grad for p in model.parameters() if p.grad is not None])
            model.zero_grad()
            gradients[-1].append(torch.stack(losses).sum().detach())
        for one, summed in zip(*gradients, strict=True):
            assert torch.allclose(one, summed, rtol=1e-4, atol=1e-4 * float(one.abs().max()) + 1e-6)
        with torch.inference_mode():
            batches = list(batches_of(rows.val, 5))
            whole_scores = task.evaluate(model, iter(batches))
            in_parts = task.evaluate(model, (part for one in batches for part in task.split(one, largest)))
        assert in_parts.samples == whole_scores.samples
        assert dict(in_parts.metrics) == pytest.approx(dict(whole_scores.metrics), rel=1e-4)

    def test_evaluation_is_deterministic_and_draws_nothing(self, settings: Any, opened: Opened) -> None:
        task, rows, model = opened
        model.eval()
        before = randomness.capture()
        with torch.inference_mode():
            scores = [task.evaluate(model, batches_of(rows.val, 3)) for _ in range(2)]
            other_batches = task.evaluate(model, batches_of(rows.val, 8))
        assert scores[0] == scores[1]
        assert same(randomness.capture(), before)
        primary = metric_of(settings).name
        assert {"val_loss", primary if primary != "loss" else "val_loss"} <= set(scores[0].metrics)
        assert all(np.isfinite(value) for value in scores[0].metrics.values())
        for name, value in scores[0].metrics.items():
            assert other_batches.metrics[name] == pytest.approx(value, rel=1e-4), name
        assert all({"image", "references", "predictions"} <= set(sample) for sample in scores[0].samples)

    def test_a_model_lives_on_from_its_checkpoint_alone(self, opened: Opened, tmp_path: Path) -> None:
        task, rows, model = opened
        file = io.BytesIO()
        torch.save({"extras": task.extras(), "model": model.state_dict()}, file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
        reborn = task_for(task.config, state["extras"])  # type: ignore[attr-defined]
        twin = reborn.build_model(weights=False)
        twin.load_state_dict(state["model"])
        with torch.inference_mode():
            scores = [one.evaluate(net.eval(), batches_of(rows.val, 4)) for one, net in ((reborn, twin), (task, model))]
        assert scores[0] == scores[1]
        expected = self.inputs(tmp_path)
        if not expected:
            return
        with torch.inference_mode():
            rows_predicted = list(reborn.predict(twin, tmp_path, torch.device("cpu")))
        names = dict.fromkeys(str(next(iter(row.values()))) for row in rows_predicted)
        assert [Path(name).stem for name in names] == expected
        for value in (value for row in rows_predicted for value in row.values()):
            assert isinstance(value, str) or Image.open(io.BytesIO(value)).format == "PNG"

    def test_everything_is_all_usable_images(self, settings: Any) -> None:
        summary = check_data(settings)
        rows = task_for(settings).open_rows(everything=True)
        assert len(rows.val) == summary.train_split_images + summary.val_images

    def test_the_whole_state_is_loaded_with_weights_only(self, settings: Any, tmp_path: Path) -> None:
        run = open_run(settings, None, 1, lambda _line: None)
        save_checkpoint(run.state(), tmp_path / "x.pth")
        assert same(load_checkpoint(tmp_path / "x.pth"), run.state())
        run.close()

    def test_its_data_can_be_shown(self, settings: Any, tmp_path: Path) -> None:
        words = check_data(settings).words
        assert words in show_data(settings, tmp_path / "data.html", lambda _done, _of: None)
        assert "<h2>Validation</h2>" in (tmp_path / "data.html").read_text(encoding="utf-8")

    def test_stopping_and_going_on_equals_never_having_stopped(self, settings: Any, tmp_path: Path) -> None:
        states = []
        for name, stops in (("straight", ()), ("stopped", (3,))):
            config = resolve_config(settings.plain(), {"checkpoint.dir": str(tmp_path / name), "training.epochs": 2})
            for steps in (*stops, 1 << 40):
                asked = iter(range(1, 1 << 41))
                hooks = Hooks(should_stop=lambda asked=asked, steps=steps: next(asked) >= steps)  # type: ignore[misc]
                session = open_session(config, hooks, resume=True)
                session.train(2, hooks)
                session.close()
            states.append(_without_clocks(load_checkpoint(tmp_path / name / LAST)))
        assert same(states[0], states[1])


def batches_of(source: RowSource, size: int) -> Iterator[Batch]:
    """The rows of a source in their order."""
    batches = EpochBatches(len(source), size, 0, False)
    return iter(build_loader(source, batches, num_workers=0, prefetch_factor=1, pin_memory=False))


def same(one: Any, other: Any) -> bool:
    """Bitwise equality of nested containers of tensors and plain values."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other) or (one != one and other != other)  # two NaN are the same here


def _without_clocks(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint without what may differ between two equal runs: folders and times."""
    progress = {name: value for name, value in state["progress"].items() if not name.startswith("seconds")}
    history = [{name: value for name, value in item.items() if "seconds" not in name} for item in state["history"]]
    return {**state, "config": None, "progress": progress, "history": history}
