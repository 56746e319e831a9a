"""One study of each task by the command: a ladder, a stop in the middle, promotion, tables, report, prediction."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from in_process import command
from orchestrator_parts import LR, orchestrator_command

from trainer.api import dump_yaml, read_metrics, read_yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "trainer"))  # their tiny configurations

from classification_parts import TINY_CLASSIFICATION
from detection_parts import TINY_DETECTION
from diffusion_parts import TINY_DIFFUSION

TINY_CAPTIONING: dict[str, Any] = {
    "task": "captioning",
    "device": "cpu",
    "data": {"scenes": {"images": 40, "size": 48}, "image_size": 32, "num_workers": 0},
    "model": {"embed_size": 16, "encoder_dim": 16, "decoder_dim": 16, "backbone": "resnet18", "pretrained": False},
    "training": {"epochs": 3, "batch_size": 8, "early_stopping": {"enabled": False}},
    "evaluation": {"max_length": 8, "samples": 2},
}
# Configuration, the metric's column, whether the highest is the best.
TASKS: dict[str, tuple[dict[str, Any], str, bool]] = {
    "captioning": (TINY_CAPTIONING, "final_bleu", True),
    "detection": (TINY_DETECTION, "final_map", True),
    "classification": (TINY_CLASSIFICATION, "final_accuracy", True),
    "diffusion": (TINY_DIFFUSION, "final_loss", False),
}
RATES = (3e-3, 1e-5, 1e-3, 3e-4)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_study_from_the_first_command_to_a_prediction(task: str, tmp_path: Path) -> None:
    base, column, highest = TASKS[task]
    (tmp_path / "base.yaml").write_text(dump_yaml(base), encoding="utf-8")
    trials = {
        "base_config": "base.yaml",
        "trials": [{LR: rate} for rate in RATES],
        "ladder": "1x16,3",
        "search": {"reduction_factor": 2},
    }
    (tmp_path / "trials.json").write_text(json.dumps(trials), encoding="utf-8")
    words = ("run", "trials.json", "--study", "s", "--workers", "2", "--threads-per-slot", "1")

    first = orchestrator_command(tmp_path, *words, "--n-trials", "2")
    assert first.returncode == 0, first.stderr
    done = orchestrator_command(tmp_path, *words, "--n-trials", "4", "--promote", "1")
    assert done.returncode == 0, done.stderr

    study = tmp_path / "outputs" / "s"
    with (study / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial_id"] for row in rows] == ["1", "2", "3", "4"]
    assert all(row["status"] in ("completed", "paused") for row in rows)
    at_top = {row["trial_id"]: float(row[column]) for row in rows if row["status"] == "completed"}
    assert at_top
    promoted = [row["trial_id"] for row in rows if row["seeds"]]
    assert promoted == [(max if highest else min)(at_top, key=lambda trial_id: at_top[trial_id])]
    for row in rows:
        curve = read_metrics(study / "trials" / f"{int(row['trial_id']):04d}" / "metrics.jsonl")
        assert [line["epoch"] for line in curve] == list(range(1, int(row["epochs"]) + 1)), "continued, not begun again"
    full = read_metrics(study / "full" / f"{int(promoted[0]):04d}-seed0" / "metrics.jsonl")
    assert len(full) == base["training"]["epochs"]
    report = (study / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" in report, "samples"

    best = read_yaml(study / "best.yaml")
    assert best["training"]["optimizer"]["lr"] == RATES[int(promoted[0]) - 1]
    again = command("trainer", ["--config", str(study / "best.yaml"), "training.epochs=1"], tmp_path)
    assert again.returncode == 0, again.stderr
