"""Values as people write them, in files, on the command line and in trials alike."""

from __future__ import annotations

from typing import Any

import pytest
from trainer_parts import TINY

from trainer.api import ConfigError, canonical_overrides, parse_assignments, resolve_config, tasks
from trainer.config.keys import known_keys
from trainer.config.spellings import WRITTEN, meant

OPTIMIZER, SCHEDULER = "training.optimizer.type", "training.scheduler.type"
WRITTEN_SO: list[tuple[str, Any, Any]] = [
    *((OPTIMIZER, text, "adamw") for text in ("AdamW", "ADAMW", "adam_w", "torch.optim.AdamW", " adamw ")),
    (OPTIMIZER, "Adam", "adam"),
    (OPTIMIZER, "SGD", "sgd"),
    (OPTIMIZER, "RMSprop", "rmsprop"),
    (OPTIMIZER, "RMSProp", "rmsprop"),
    (SCHEDULER, "OneCycleLR", "one_cycle"),
    (SCHEDULER, "onecycle", "one_cycle"),
    (SCHEDULER, "one-cycle", "one_cycle"),
    (SCHEDULER, "StepLR", "step"),
    (SCHEDULER, "torch.optim.lr_scheduler.StepLR", "step"),
    (SCHEDULER, "CosineAnnealingLR", "cosine"),
    (SCHEDULER, "Cosine", "cosine"),
    (SCHEDULER, "ReduceLROnPlateau", "reduce_on_plateau"),
    (SCHEDULER, "ReduceOnPlateau", "reduce_on_plateau"),
    (SCHEDULER, "ConstantLR", "constant"),
    ("training.scheduler.anneal_strategy", "cosine", "cos"),
    *(("training.precision", value, "fp16") for value in (16, "16", "16-mixed", "16-true", "FP16", "float16")),
    *(("training.precision", value, "bf16") for value in ("bf16-mixed", "bf16-true", "BF16", "bfloat16")),
    *(("training.precision", value, "fp32") for value in (32, "32", "32-true", "float32", "no", False)),
    ("training.precision", True, "auto"),
    *(("device", value, "cuda") for value in ("gpu", "GPU", "CUDA")),
    *(("device", value, "cuda:0") for value in (0, "0", "cuda:0", "gpu:0")),
    ("device", "CPU", "cpu"),
]
LOSSES = {
    "mse": ("MSE", "MSELoss", "torch.nn.MSELoss", "nn.MSELoss"), "bce": ("BCE", "BCELoss"),
    "bce_with_logits": ("BCEWithLogits", "BCEWithLogitsLoss"), "cross_entropy": ("CrossEntropyLoss", "CrossEntropy"),
    "smooth_l1": ("SmoothL1Loss", "SmoothL1"), "l1": ("L1Loss", "L1"),
}  # fmt: skip


@pytest.mark.parametrize(("key", "written", "value"), WRITTEN_SO)
def test_a_value_may_be_written_in_many_ways(key: str, written: Any, value: Any) -> None:
    for task in tasks():
        assert canonical_overrides({key: written}, task) == {key: value}
    assert resolve_config(TINY, {"device": "GPU:1"}).device == "cuda:1"


@pytest.mark.parametrize(("value", "written"), [(value, text) for value, texts in LOSSES.items() for text in texts])
def test_losses_by_the_names_of_their_classes(value: str, written: str) -> None:
    assert canonical_overrides({"criterion.type": written}, "classification") == {"criterion.type": value}


def test_names_of_other_keys_count_without_case_and_signs_too() -> None:
    assert canonical_overrides({"training.mixing.strategy": "CutMix"}, "classification") == {
        "training.mixing.strategy": "cutmix"
    }
    noise = {"scheduler.beta_schedule": "Scaled-Linear", "data.dataset_name": "COCO", "vae.downsample_factor": "4"}
    assert list(canonical_overrides(noise, "diffusion").values()) == ["scaled_linear", "coco", 4]


def test_on_the_command_line_too() -> None:
    said = parse_assignments(["optimizer.type=AdamW", "training.precision=32", "device=0", "training.amp=True"])
    said.pop("training.amp")
    found = canonical_overrides(said, "captioning")
    assert found == {OPTIMIZER: "adamw", "training.precision": "fp32", "device": "cuda:0"}
    assert canonical_overrides(parse_assignments(["training.amp=True"]), "captioning") == {"training.precision": "auto"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (OPTIMIZER, "Adamax"), (SCHEDULER, "CosineAnnealingWarmRestarts"), (SCHEDULER, "CosineAnnealing"),
        ("training.precision", 64), ("training.precision", 1), ("training.precision", "64-true"),
        ("criterion.type", "NLLLoss"), ("device", "mps"), ("device", -1), ("device", True), (OPTIMIZER, ["adam"]),
    ],
)  # fmt: skip
def test_what_names_nothing_is_refused_as_it_was_written(key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_config({"task": "classification", "data": {"scenes": {}}}, {key: value})
    (problem,) = caught.value.problems
    assert problem.where == key
    assert repr(value) in problem.what


def test_every_other_name_leads_to_a_choice() -> None:
    for key, names in WRITTEN.items():
        known = known_keys("classification")[key]
        assert {meant(known, name) for name in names} <= set(known.choices)
