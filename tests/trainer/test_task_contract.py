"""What every task promises, by the tests that a user's own task inherits too; a new task is shown here by a class."""

from __future__ import annotations

import subprocess
import sys

import pytest
from classification_parts import TINY_CLASSIFICATION
from detection_parts import TINY_DETECTION
from diffusion_parts import TINY_DIFFUSION
from trainer_parts import TINY

from trainer.api import ConfigError, Metric, tasks
from trainer.testing import TaskContract

pytestmark = pytest.mark.core


class TestCaptioning(TaskContract):
    config = TINY


class TestDetection(TaskContract):
    config = TINY_DETECTION


class TestClassification(TaskContract):
    config = TINY_CLASSIFICATION


class TestDiffusion(TaskContract):
    config = TINY_DIFFUSION


def test_every_task_is_greeted() -> None:
    here = [cls for cls in TaskContract.__subclasses__() if cls.__module__ == __name__]
    assert {cls.config["task"] for cls in here} == set(tasks())


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


def test_a_metric_has_one_of_two_directions() -> None:
    with pytest.raises(ConfigError, match="Metric: the direction of r2 must be maximize or minimize, not 'up'"):
        Metric("r2", "R²", "up")  # type: ignore[arg-type]
