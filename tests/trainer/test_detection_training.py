"""Detection runs: resumed ones equal straight ones, real data is learned, predictions are written down."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import in_process
import pytest
import torch
from detection_parts import TINY_DETECTION, coco_content, tiny_detection, write_coco
from PIL import Image
from trainer_parts import metrics_lines, same, session_of, stop_after, trained, training_state

from trainer.api import DataError, Hooks, NonFiniteLoss, dump_yaml, evaluate, load_config, predict
from trainer.checkpoints.files import LAST
from trainer.data.splits import select
from trainer.run.run import task_for

ROOT = Path(__file__).resolve().parents[2]
BCCD = ROOT.parent / "shared" / "data" / "bccd_detection"
DENOISED: dict[str, Any] = {"model__num_denoising": 8, "data__augment__hue": 0.1}
VARIANTS: dict[str, dict[str, Any]] = {
    "denoising and augmentation": DENOISED,
    "2 workers": {**DENOISED, "data__num_workers": 2, "data__cache_gb": 0.0},
    "letterbox, accumulation, backbone rate": {
        "data__resize": "letterbox",
        "training__accumulate_grad_batches": 2,
        "training__optimizer__encoder_lr": 1e-4,
    },
    "dropout, detr": {"model__name": "detr", "model__dropout": 0.2},
    "d_fine": {"model__name": "d_fine", "model__num_denoising": 8},
    "resizing and average": {"training__resize_schedule": [[1, 48], [2, 64]], "training__ema_decay": 0.9},
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> dict[str, Any]:
    return VARIANTS[request.param]


@pytest.mark.slow
def test_stopping_and_going_on_equals_never_having_stopped(variant: dict[str, Any], tmp_path: Path) -> None:
    straight = trained(tiny_detection(tmp_path / "straight", **variant))
    config = tiny_detection(tmp_path / "run", **variant)
    stopped = trained(config, hooks=Hooks(should_stop=stop_after(straight.step * 2 // 3 - 1)))
    assert stopped.ending == "interrupted"
    assert stopped.epoch < 3
    resumed = trained(config, resume=True)
    assert same(training_state(tmp_path / "run"), training_state(tmp_path / "straight"))
    assert metrics_lines(tmp_path / "run") == metrics_lines(tmp_path / "straight")
    assert resumed.step == straight.step


def test_the_number_of_loading_processes_changes_nothing(tmp_path: Path) -> None:
    for workers in (0, 2):
        trained(
            tiny_detection(
                tmp_path / str(workers), **DENOISED, training__epochs=1, data__num_workers=workers, data__cache_gb=0.0
            )
        )
    assert same(training_state(tmp_path / "0"), training_state(tmp_path / "2"))


def test_every_number_is_reported_and_finite(tmp_path: Path) -> None:
    trained(tiny_detection(tmp_path, training__epochs=1))
    (line,) = metrics_lines(tmp_path)
    numbers = line["metrics"]
    losses = {"train_loss", "val_loss", "val_loss_class", "val_loss_box", "val_loss_giou"}
    assert {*losses, "map", "ap50", "ap75", "ar"} <= set(numbers)
    assert {"ap_circle", "ap_star"} & set(numbers)
    assert all(math.isfinite(value) for value in numbers.values())
    assert numbers["val_loss"] > numbers["val_loss_box"] + numbers["val_loss_giou"]


def test_without_map_the_loss_is_the_metric(tmp_path: Path) -> None:
    outcome = trained(tiny_detection(tmp_path, training__epochs=1, metrics__map=False))
    assert outcome.evaluations[0].value == outcome.evaluations[0].metrics["val_loss"]
    assert "map" not in outcome.evaluations[0].metrics


def test_samples_are_boxes_in_numbers_and_in_words(tmp_path: Path) -> None:
    trained(tiny_detection(tmp_path, training__epochs=1, evaluation__score_threshold=1.0))
    samples = json.loads((tmp_path / "samples" / "last.json").read_text())["samples"]
    assert len(samples) == 2
    for sample in samples:
        assert Path(sample["image"]).is_file()
        assert len(sample["predictions"]) == 1, "below the threshold: the likeliest one"
        for words in (*sample["references"], *sample["predictions"]):
            assert words.split()[0] in ("circle", "cross", "square", "star", "triangle")
            assert len(words.rsplit(" at ", 1)[1].split(",")) == 4
        for side, texts in (("reference_boxes", "references"), ("predicted_boxes", "predictions")):
            for box, words in zip(sample[side], sample[texts], strict=True):
                assert words.startswith(box["label"])
                left, top, wide, high = box["place"]
                assert 0 <= left <= left + wide <= 64.1
                assert 0 <= top <= top + high <= 64.1
                assert ("score" in box) == (side == "predicted_boxes")


def test_a_rate_far_too_large_ends_as_a_number_that_is_none_or_as_a_low_map(tmp_path: Path) -> None:
    config = tiny_detection(tmp_path, training__optimizer__lr=1e30, training__grad_clip=0.0, training__epochs=1)
    with pytest.raises(NonFiniteLoss, match="try a lower"):
        trained(config)


def test_an_own_data_set_with_everything_odd_is_trained_on(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", coco_content())
    outcome = trained(tiny_detection(tmp_path / "run", data, training__epochs=2, data__resize="letterbox"))
    assert outcome.epoch == 2
    assert {"ap_cat", "ap_traffic_light"} & set(outcome.evaluations[-1].metrics)
    found = evaluate(tmp_path / "run" / LAST, {}, everything=True)
    assert {"ap_cat", "ap_traffic_light"} <= set(found)


def test_a_model_knows_its_classes_by_name(tmp_path: Path) -> None:
    content = coco_content()
    trained(tiny_detection(tmp_path / "run", write_coco(tmp_path / "data", content), training__epochs=1))
    before = evaluate(tmp_path / "run" / LAST, {}, everything=True)
    swapped = json.loads(json.dumps(content).replace('"category_id": 11', '"category_id": 99'))
    swapped["categories"] = [{"id": 99, "name": "cat"}, {"id": 20, "name": "traffic light"}]
    after = evaluate(tmp_path / "run" / LAST, write_coco(tmp_path / "other", swapped), everything=True)
    assert after == pytest.approx(before)
    swapped["categories"].append({"id": 100, "name": "zebra"})
    with pytest.raises(DataError, match="knows no class zebra, only cat, traffic light"):
        evaluate(tmp_path / "run" / LAST, write_coco(tmp_path / "third", swapped), everything=True)


def test_predictions_are_a_table_of_boxes(tmp_path: Path) -> None:
    trained(tiny_detection(tmp_path / "run", training__epochs=1))
    (tmp_path / "pictures").mkdir()
    for name, size in (("b.png", (50, 30)), ("a.jpg", (30, 80))):
        Image.new("RGB", size, (200, 10, 10)).save(tmp_path / "pictures" / name)
    all_boxes = list(predict(tmp_path / "run" / LAST, tmp_path / "pictures", {"evaluation.score_threshold": 0.0}))
    assert list(all_boxes[0]) == ["image", "label", "score", "x", "y", "w", "h"]
    assert [row["image"] for row in all_boxes] == ["a.jpg"] * 60 + ["b.png"] * 60, "12 queries of 5 classes"
    for row in all_boxes:
        width, height = (30, 80) if row["image"] == "a.jpg" else (50, 30)
        assert -0.1 <= float(row["x"]) <= float(row["x"]) + float(row["w"]) <= width + 0.2
        assert -0.1 <= float(row["y"]) <= float(row["y"]) + float(row["h"]) <= height + 0.2
    none = list(predict(tmp_path / "run" / LAST, tmp_path / "pictures", {"evaluation.score_threshold": 1.0}))
    assert [(row["image"], row["label"], row["x"]) for row in none] == [("a.jpg", "", ""), ("b.png", "", "")]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no image in it"):
        list(predict(tmp_path / "run" / LAST, tmp_path / "nothing", {}))


def test_overfitting_takes_the_first_images_plainly(tmp_path: Path) -> None:
    config = tiny_detection(tmp_path, training__overfit=True, training__subset_size=3, data__augment__crop_p=1.0)
    with session_of(config) as session:
        loaders = session.run.loaders
        train, val = loaders.train.dataset, loaders.val.dataset  # type: ignore[attr-defined]
        assert [row for batch in loaders.batches for _, row in batch] == [0, 1, 2]
        assert list(train.rows) == list(val.rows) == list(select(config, 24).train_split[:3])
        once, again = (train.__getitems__([(epoch, row) for row in range(3)]) for epoch in (1, 9))
        assert same(once, again)
        assert torch.equal(once["images"], val.__getitems__([(1, row) for row in range(3)])["images"])


def test_nothing_to_learn_from_is_an_error(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"] = [entry for entry in content["annotations"] if entry.get("iscrowd")]
    config = tiny_detection(tmp_path / "run", write_coco(tmp_path / "data", content))
    with pytest.raises(DataError, match=r"none of the 8 training images has a box \(crowds do not count\)"):
        task_for(config).open_rows()


def command(*words: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_from_the_command_line_alone(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", coco_content())
    (tmp_path / "tiny.yaml").write_text(dump_yaml(TINY_DETECTION))
    words = [f"{key}={value}" for key, value in data.items()]
    words += ["training.epochs=1", f"checkpoint.dir={tmp_path}"]
    done = command("trainer", "--config", tmp_path / "tiny.yaml", *words)
    assert done.returncode == 0, done.stderr
    assert "10 images, 10 boxes and 1 crowd of 2 classes" in done.stderr
    assert "  map " in done.stderr
    assert "Warning" not in done.stderr
    words = ["predict", "--checkpoint", str(tmp_path / LAST), str(tmp_path / "data" / "images")]
    rows = list(csv.DictReader(io.StringIO(in_process.command("trainer", words, tmp_path).stdout)))
    assert {row["image"] for row in rows} == {f"{n}.png" for n in range(10)}


@pytest.mark.release
@pytest.mark.skipif(not BCCD.is_dir(), reason="the BCCD data are not there")
def test_ten_real_images_are_learned_by_heart(tmp_path: Path) -> None:
    config = load_config(
        ROOT / "configs" / "detection_small.yaml",
        {
            "data.images_dir": str(BCCD / "images"),
            "data.train_annotations": str(BCCD / "instances_train.json"),
            "data.val_annotations": str(BCCD / "instances_val.json"),
            "data.image_size": 192,
            "model.num_queries": 100,
            "model.num_denoising": 50,
            "training.overfit": True,
            "training.batch_size": 5,
            "training.epochs": 120,
            "training.eval_interval": 20,
            "checkpoint.dir": str(tmp_path),
            "checkpoint.save": False,
        },
    )
    assert max(evaluation.metrics["ap50"] for evaluation in trained(config).evaluations) >= 0.9


@pytest.mark.release
@pytest.mark.timeout(1200)
def test_the_shipped_search_ranks_learning_rates(tmp_path: Path) -> None:
    trials = ROOT / "trials" / "detection_lr_bs.json"
    done = command("orchestrator", "run", trials, "--study", "search", "--output-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "search" / "trials.csv").open()))
    scores = [float(row["final_map"]) for row in rows]
    assert max(scores) >= 0.25
    rates = [float(row["param_training.optimizer.lr"]) for row in rows]
    extreme = {score for score, rate in zip(scores, rates, strict=True) if rate in (0.1, 1e-5)}
    assert max(extreme) < min(set(scores) - extreme)
