"""A last batch of one sample: no run ends on BatchNorm, whatever the task, and its steps stay the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from classification_parts import tiny_classification
from detection_parts import tiny_detection
from torch import nn
from trainer_parts import same, stop_after, tiny, trained, training_state

from trainer.api import Hooks
from trainer.data.batches import EpochBatches
from trainer.learning.batch_norm import statistics_kept

# Maps of one place at the end of the backbone, and one image in the last batch.
LONELY: dict[str, tuple[Any, dict[str, Any]]] = {
    "captioning": (tiny, {"data__image_size": 16, "training__subset_size": 8, "training__batch_size": 5,
                          "model__backbone": "resnet18"}),  # 16 captions
    "classification": (tiny_classification, {"data__image_size": 16, "training__subset_size": 9,
                                             "training__batch_size": 4}),
    "detection": (tiny_detection, {"data__image_size": 32, "training__subset_size": 9, "training__batch_size": 4,
                                   "model__levels": 1, "model__num_queries": 1,
                                   "model__backbone_widths": [8, 16, 24, 24], "model__backbone_depths": [1, 1, 1, 1]}),
}  # fmt: skip


@pytest.mark.parametrize("kind", LONELY)
def test_a_last_batch_of_one_is_trained_on(kind: str, tmp_path: Path) -> None:
    configure, settings = LONELY[kind]
    outcome = trained(configure(tmp_path, **settings), until=1)
    assert (outcome.epoch, outcome.step) == (1, {"captioning": 4}.get(kind, 3))


def test_every_batch_may_be_one(tmp_path: Path) -> None:
    settings = {"training__subset_size": 3, "training__batch_size": 1, "training__accumulate_grad_batches": 2}
    assert trained(tiny_classification(tmp_path, data__image_size=16, **settings), until=1).step == 2


def test_a_run_that_stops_before_it_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    configure, settings = LONELY["classification"]
    trained(configure(tmp_path / "straight", **settings), until=2)
    trained(configure(tmp_path / "halted", **settings), until=2, hooks=Hooks(should_stop=stop_after(2)))
    trained(configure(tmp_path / "halted", **settings), until=2, resume=True)
    assert same(training_state(tmp_path / "straight"), training_state(tmp_path / "halted"))


def test_rows_of_a_batch_are_counted() -> None:
    batches = EpochBatches(9, 4, 0, shuffle=False)
    assert [batches.rows_in(number) for number in range(len(batches))] == list(map(len, batches)) == [4, 4, 1]


def test_statistics_are_kept_for_one_sample_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    frozen = model[1].eval()
    with statistics_kept(model.train()):
        assert (model[0].training, model[1].training, model[2].training) == (True, False, True)
        model(torch.zeros(1, 3, 1, 1))
    assert model[1].training
    frozen.eval()
    with statistics_kept(model):
        pass
    assert not frozen.training
