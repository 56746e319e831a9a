"""Out of memory: half the micro-batch, the same effective batch, the same losses; sizes that fitted are kept.

A CPU has memory enough, so the error is raised where more samples than a limit come in at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detection_parts import tiny_detection
from trainer_parts import metrics_lines, same, session_of, stop_after, tiny, trained, training_state

from trainer.api import Hooks, Outcome, OutOfMemory, cache_dir
from trainer.checkpoints.files import LAST, load_checkpoint
from trainer.task.batches import part_sizes
from trainer.tasks.captioning.model import Captioner
from trainer.tasks.captioning.task import CaptioningTask

# Without dropout and BatchNorm the losses of parts add up to those of whole batches.
STILL: dict[str, Any] = {"model__dropout": 0.0, "model__encoder_fine_tune": False, "data__val_split": 0.24}
Limit = Callable[..., list[int]]


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[Path]:
    """No test starts with what another one found."""
    file = cache_dir() / "micro_batches.json"
    file.unlink(missing_ok=True)
    yield file
    file.unlink(missing_ok=True)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Limit]:
    """Lets a model take so many images at once, from a call on; gives the sizes that came in."""
    true_vectors = Captioner.image_vectors

    def set_limit(training: int = 1000, evaluation: int = 1000, from_call: int = 1) -> list[int]:
        sizes: list[int] = []

        def image_vectors(self: Captioner, images: torch.Tensor, *rest: Any) -> torch.Tensor:
            sizes.append(len(images))
            if len(sizes) >= from_call and len(images) > (training if self.training else evaluation):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nadvice")
            return true_vectors(self, images, *rest)

        monkeypatch.setattr(Captioner, "image_vectors", image_vectors)
        return sizes

    yield set_limit
    monkeypatch.setattr(Captioner, "image_vectors", true_vectors)


def alike(one: Outcome, other: Outcome) -> None:
    """The same losses and metrics within rounding."""
    assert one.step == other.step
    assert [e.epoch for e in one.evaluations] == [e.epoch for e in other.evaluations]
    for a, b in zip(one.evaluations, other.evaluations, strict=True):
        assert dict(a.metrics) == pytest.approx(dict(b.metrics), rel=1e-5, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("from_call", [1, 30], ids=["first step", "later epoch"])
@pytest.mark.parametrize("settings", [{}, {"training__batch_size": 4, "training__accumulate_grad_batches": 2}])
def test_a_step_without_memory_is_done_again_in_parts(
    settings: dict[str, Any], from_call: int, limit: Limit, tmp_path: Path
) -> None:
    whole = trained(tiny(tmp_path / "whole", **STILL, **settings))
    sizes, said = limit(training=3, from_call=from_call), []
    outcome = trained(tiny(tmp_path / "run", **STILL, **settings), hooks=Hooks(say=said.append))
    alike(outcome, whole)
    first = settings.get("training__batch_size", 8)
    expected = [
        f"out of memory with micro-batches of {size}; goes on with {size // 2} (the effective batch stays 8)"
        for size in (8, 4)
        if size <= first
    ]
    assert [line for line in said if "memory" in line] == expected == list(outcome.warnings)
    assert load_checkpoint(tmp_path / "run" / LAST)["progress"]["micro_batch"] == 2
    assert [size for size in sizes[from_call:] if size > 3 and size <= first // 2] <= [4]


@pytest.mark.slow
def test_an_evaluation_without_memory_is_done_again_in_parts(limit: Limit, tmp_path: Path) -> None:
    config = {**STILL, "training__val_batch_size": 5}
    whole = trained(tiny(tmp_path / "whole", **config))
    limit(evaluation=1, from_call=10)
    said: list[str] = []
    outcome = trained(tiny(tmp_path / "run", **config), hooks=Hooks(say=said.append))
    alike(outcome, whole)
    assert [line for line in said if "memory" in line] == [
        f"out of memory in evaluation with micro-batches of {a}; goes on with {b} (the results stay the same)"
        for a, b in ((5, 3), (3, 2), (2, 1))
    ]
    progress = load_checkpoint(tmp_path / "run" / LAST)["progress"]
    assert (progress["micro_batch"], progress["val_micro_batch"]) == (0, 1)
    samples = [json.loads((tmp_path / name / "samples" / "last.json").read_text()) for name in ("run", "whole")]
    assert samples[0] == samples[1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_memory_runs_out_everywhere_at_once(workers: int, limit: Limit, tmp_path: Path) -> None:
    config = {**STILL, "data__num_workers": workers, "training__ema_decay": 0.9, "criterion__reduction": "sum"}
    config |= {"training__optimizer__lr": 1e-4, "criterion__label_smoothing": 0.1}
    whole = trained(tiny(tmp_path / "whole", **config))
    limit(training=2, evaluation=3)
    alike(trained(tiny(tmp_path / "run", **config)), whole)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["training", "evaluation"])
def test_one_sample_that_does_not_fit_is_an_error_with_advice(phase: str, limit: Limit, tmp_path: Path) -> None:
    limit(**{phase: 0})
    with pytest.raises(OutOfMemory, match=r"batches of 8 even one sample .*2 GiB.*smaller data\.image_size") as caught:
        trained(tiny(tmp_path))
    assert caught.value.kind == "oom"
    assert ("in evaluation" in str(caught.value)) == (phase == "evaluation")


def test_what_the_optimizer_lacks_no_smaller_batch_can_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    with session_of(tiny(tmp_path)) as session:
        monkeypatch.setattr(session.run.optimizer, "step", step)
        with pytest.raises(OutOfMemory, match="2 GiB"):
            session.train(1, Hooks())
        assert session.run.progress.micro_batch == 0


@pytest.mark.slow
@pytest.mark.parametrize("steps", [3, 8, 13])
def test_stop_and_resume_keep_the_size_and_equal_straight(steps: int, limit: Limit, tmp_path: Path) -> None:
    """With dropout and BatchNorm too: the parts are the same, so are the draws."""
    limit(training=3, from_call=2)
    straight = trained(tiny(tmp_path / "straight"))
    (cache_dir() / "micro_batches.json").unlink()
    limit(training=3, from_call=2)
    stopped = trained(tiny(tmp_path / "run"), hooks=Hooks(should_stop=stop_after(steps)))
    assert stopped.ending == "interrupted"
    said: list[str] = []
    resumed = trained(tiny(tmp_path / "run"), hooks=Hooks(say=said.append), resume=True)
    assert [line for line in said if "memory" in line] == [], "it starts with what fits"
    assert [e.metrics for e in resumed.evaluations] == [e.metrics for e in straight.evaluations]
    assert same(training_state(tmp_path / "run"), training_state(tmp_path / "straight"))
    assert metrics_lines(tmp_path / "run") == metrics_lines(tmp_path / "straight")


@pytest.mark.slow
def test_the_next_run_of_its_kind_starts_there_and_others_do_not(
    limit: Limit, nothing_known: Path, tmp_path: Path
) -> None:
    sizes = limit(training=3, evaluation=5)
    trained(tiny(tmp_path / "one", **STILL))
    assert 8 in sizes
    sizes, said = limit(training=3, evaluation=5), []
    trained(tiny(tmp_path / "two", **STILL, training__optimizer__lr=1e-3), hooks=Hooks(say=said.append))
    assert max(sizes) <= 4
    assert "training in micro-batches of 2: larger ones did not fit into memory in a run like this" in said
    assert not [line for line in said if "out of memory" in line]
    limit()
    whole = {"model__encoder_dim": 12}, {"training__batch_size": 16}, {"data__image_size": 24}
    for number, other in enumerate(whole):
        sizes = limit()
        trained(tiny(tmp_path / f"other{number}", **{**STILL, **other}, training__epochs=1))
        assert max(sizes) == other.get("training__batch_size", 8), "another kind of run"
    nothing_known.write_text("{damaged")
    sizes = limit()
    trained(tiny(tmp_path / "three", **STILL, training__epochs=1))
    assert max(sizes) == 8


@pytest.mark.slow
def test_what_others_find_later_does_not_change_a_run_that_is_resumed(limit: Limit, tmp_path: Path) -> None:
    straight = trained(tiny(tmp_path / "straight"))
    trained(tiny(tmp_path / "run"), until=2)
    limit(training=3)
    trained(tiny(tmp_path / "short"), until=1)
    limit()
    resumed = trained(tiny(tmp_path / "run"), resume=True)
    assert [e.metrics for e in resumed.evaluations] == [e.metrics for e in straight.evaluations]


def test_a_folder_that_cannot_be_written_costs_only_the_hint(limit: Limit, nothing_known: Path, tmp_path: Path) -> None:
    nothing_known.mkdir()
    limit(training=3)
    try:
        assert trained(tiny(tmp_path, **STILL), until=1).ending == "reached"
    finally:
        nothing_known.rmdir()


def test_where_parts_cannot_add_up_it_is_said_once(limit: Limit, tmp_path: Path) -> None:
    limit(training=3)
    said: list[str] = []
    outcome = trained(tiny(tmp_path), hooks=Hooks(say=said.append))
    (line,) = [line for line in said if line.startswith("warning:")]
    assert "BatchNorm takes its statistics from micro-batches and dropout is drawn anew" in line
    assert line in outcome.warnings


def test_a_detector_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.tasks.detection.task import DetectionTask

    config = {"training__epochs": 1, "training__optimizer__lr": 1e-5}
    whole = trained(tiny_detection(tmp_path / "whole", **config))
    true_pixels = DetectionTask._pixels

    def pixels(self: DetectionTask, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return true_pixels(self, images)

    monkeypatch.setattr(DetectionTask, "_pixels", pixels)
    outcome = trained(tiny_detection(tmp_path / "run", **config))
    assert len([line for line in outcome.warnings if "goes on with 2" in line]) == 2
    assert any("BatchNorm" in line for line in outcome.warnings)
    losses = [one.evaluations[0].metrics["train_loss"] for one in (outcome, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=0.3), "BatchNorm sees fewer images"


@pytest.mark.parametrize(
    ("samples", "largest", "sizes"),
    [(8, 8, [8]), (8, 4, [4, 4]), (17, 8, [6, 6, 5]), (5, 1, [1] * 5), (3, 16, [3]), (7, 4, [4, 3])],
)
def test_parts_are_even(samples: int, largest: int, sizes: list[int]) -> None:
    assert part_sizes(samples, largest) == sizes


def test_a_task_is_asked_to_split_only_where_memory_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("there was memory enough")

    monkeypatch.setattr(CaptioningTask, "split", never)
    trained(tiny(tmp_path), until=1)
