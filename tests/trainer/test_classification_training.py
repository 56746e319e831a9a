"""Classification runs: resumed ones equal straight ones, real data is learned, predictions are written down."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from classification_parts import tiny_classification, write_folders, write_picture, write_table
from PIL import Image
from trainer_parts import metrics_lines, same, session_of, stop_after, trained, training_state
from typer.testing import CliRunner

from trainer.api import DataError, Hooks, check_data, evaluate, load_config, predict
from trainer.checkpoints.files import LAST, load_checkpoint
from trainer.cli import commands as cli

ROOT = Path(__file__).resolve().parents[2]
SIGNS = ROOT.parent / "shared" / "data" / "sign_digits_classification"
AUGMENTED: dict[str, Any] = {
    "data__train_augmentations": [{"RandomAffine": {"degrees": 10}}, {"ColorJitter": {"brightness": 0.3}}],
    "data__augmentation_p_schedule__start_p": 0.2,
    "data__augmentation_p_schedule__end_p": 0.9,
    "training__mixing__p": 0.5,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "augmentation and mixing": AUGMENTED,
    "2 workers": {**AUGMENTED, "data__num_workers": 2, "data__cache_gb": 0.0},
    "cutmix, accumulation, rate of its own, average": {
        **AUGMENTED,
        "training__mixing__strategy": "cutmix",
        "training__accumulate_grad_batches": 3,
        "training__optimizer__encoder_lr": 1e-3,
        "training__ema_decay": 0.9,
        "criterion__label_smoothing": 0.1,
    },
    "dropout, one cycle, growing images": {
        "model__load_from": "torchvision",
        "model__backbone_name": "mobilenet_v3_small",
        "training__resize_schedule": [[1, 32], [2, 48]],
    },
    "logits, plateau, batches with one image over": {
        "criterion__type": "bce_with_logits",
        "training__scheduler__type": "reduce_on_plateau",
        "training__batch_size": 31,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_stopping_and_going_on_equals_never_having_stopped(variant: str, tmp_path: Path) -> None:
    settings = VARIANTS[variant]
    straight = trained(tiny_classification(tmp_path / "straight", **settings))
    config = tiny_classification(tmp_path / "run", **settings)
    stopped = trained(config, hooks=Hooks(should_stop=stop_after(straight.step * 2 // 3 - 1)))
    assert stopped.ending == "interrupted"
    resumed = trained(config, resume=True)
    assert same(training_state(tmp_path / "run"), training_state(tmp_path / "straight"))
    assert metrics_lines(tmp_path / "run") == metrics_lines(tmp_path / "straight")
    assert resumed.step == straight.step


def test_the_number_of_loading_processes_changes_nothing(tmp_path: Path) -> None:
    for workers in (0, 2):
        loading = {"data__num_workers": workers, "data__cache_gb": 0.0, "training__epochs": 1}
        trained(tiny_classification(tmp_path / str(workers), **AUGMENTED, **loading))
    assert same(training_state(tmp_path / "0"), training_state(tmp_path / "2"))


def test_a_pause_on_a_ladder_moves_no_schedule(tmp_path: Path) -> None:
    """The chance of augmentation is laid over `schedule_epochs`: ending early is a prefix of going on."""
    whole = trained(tiny_classification(tmp_path / "whole", **AUGMENTED))
    first = trained(tiny_classification(tmp_path / "short", **AUGMENTED, training__epochs=1))
    assert first.evaluations[0].metrics == whole.evaluations[0].metrics


def test_what_a_run_leaves_for_the_report(tmp_path: Path) -> None:
    outcome = trained(tiny_classification(tmp_path))
    assert set(outcome.evaluations[0].metrics) == {"train_loss", "val_loss", "accuracy", "f1_macro", "lr"}
    found = json.loads((tmp_path / "samples" / "last.json").read_text())
    assert list(found) == ["epoch", "samples", "matrix"]
    assert found["epoch"] == 3
    assert sum(map(sum, found["matrix"]["counts"])) == 8
    right = sum(row[place] for place, row in enumerate(found["matrix"]["counts"]))
    assert right / 8 == pytest.approx(outcome.evaluations[-1].metrics["accuracy"])
    few = trained(tiny_classification(tmp_path / "none", evaluation__samples=0, evaluation__confusion_matrix=False))
    assert few.epoch == 3
    assert not (tmp_path / "none" / "samples").exists()


@pytest.mark.slow
def test_overfitting_learns_its_few_images(tmp_path: Path) -> None:
    few = {
        "training__overfit": True,
        "training__subset_size": 5,
        "training__epochs": 50,
        "training__schedule_epochs": 50,
        "training__eval_interval": 50,
        "training__optimizer__lr": 5e-3,
        "training__scheduler__type": "constant",
    }
    outcome = trained(tiny_classification(tmp_path, **few, **AUGMENTED))
    assert outcome.evaluations[-1].metrics["accuracy"] == 1.0


@pytest.mark.slow
def test_a_compiled_run_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the C compiler, which `test_compile.py` waits for: here the model and its gradients are captured."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    small = {"training__epochs": 1}
    plain = trained(tiny_classification(tmp_path / "plain", **small))
    compiled = trained(tiny_classification(tmp_path / "compiled", training__compile=True, **small))
    expected = plain.evaluations[0].metrics["train_loss"]
    assert compiled.evaluations[0].metrics["train_loss"] == pytest.approx(expected, rel=1e-3)


def test_a_checkpoint_is_evaluated_on_its_data_and_on_other(tmp_path: Path) -> None:
    outcome = trained(tiny_classification(tmp_path / "run"))
    path = tmp_path / "run" / LAST
    own = evaluate(path, {}, everything=False)
    assert own["accuracy"] == outcome.evaluations[-1].metrics["accuracy"]
    write_folders(tmp_path / "other", {"star": 3, "circle": 2})
    result = CliRunner().invoke(
        cli.app, ["evaluate", "--checkpoint", str(path), f"data.images_dir={tmp_path / 'other'}"]
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["accuracy"] in {n / 5 for n in range(6)}, "all five images of it"
    write_folders(tmp_path / "strange", {"star": 3, "moon": 2})
    with pytest.raises(DataError, match="knows no class moon, only circle, cross"):
        evaluate(path, {"data.images_dir": str(tmp_path / "strange")}, everything=True)
    named = write_table(tmp_path / "table", [("a.png", "star"), ("b.png", "cross")])
    assert evaluate(path, named, everything=True)["val_loss"] > 0


def test_predictions_come_as_a_table(tmp_path: Path) -> None:
    trained(tiny_classification(tmp_path / "run"))
    write_picture(tmp_path / "new" / "b.png")
    write_picture(tmp_path / "new" / "a.png", mode="L")
    words = ["predict", str(tmp_path / "new"), "--checkpoint", str(tmp_path / "run" / LAST)]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["image"] for row in rows] == ["a.png", "b.png"]
    assert all(row["label"] in ("circle", "cross", "square", "star", "triangle") for row in rows)
    assert all(0.2 <= float(row["score"]) <= 1.0 for row in rows)


def test_what_cannot_be_read_is_left_out_of_predictions_where_that_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained(tiny_classification(tmp_path / "run"), until=1)
    write_picture(tmp_path / "new" / "a.png")
    (tmp_path / "new" / "b.png").write_bytes(b"nothing")
    whole, broken = predict(tmp_path / "run" / LAST, tmp_path / "new", {})
    assert (whole["image"], list(whole), broken) == ("a.png", ["image", "label", "score"], {"image": "b.png"})
    rows = list(predict(tmp_path / "run" / LAST, tmp_path / "new", {"data.bad_samples": "skip"}))
    assert rows == [whole]
    assert "1 unreadable image: b.png left out (data.bad_samples=skip)" in caplog.text
    (tmp_path / "new" / "a.png").unlink()
    with pytest.raises(DataError, match=r"1 unreadable image: b\.png, and no other in it"):
        list(predict(tmp_path / "run" / LAST, tmp_path / "new", {"data.bad_samples": "skip"}))


def test_predictions_are_those_of_the_evaluation(tmp_path: Path) -> None:
    """The same pixels: `predict` frames an image as validation does. Images in folders below are found by name."""
    write_folders(tmp_path / "images", {"a": 10, "b": 10})
    framing = {"data__source_scale": 1.5, "data__val_augmentations": [{"CenterCrop": {"size": 1.0}}]}
    trained(tiny_classification(tmp_path / "run", {"data.images_dir": str(tmp_path / "images")}, **framing))
    samples = json.loads((tmp_path / "run" / "samples" / "last.json").read_text())["samples"]
    found = {row["image"]: row for row in predict(tmp_path / "run" / LAST, tmp_path / "images", {})}
    assert len(found) == 20
    for sample in samples:
        name = Path(sample["image"]).relative_to(tmp_path / "images").as_posix()
        label, share = sample["predictions"][0].removesuffix("%)").split(" (")
        assert found[name]["label"] == label
        assert float(found[name]["score"]) == pytest.approx(int(share) / 100, abs=0.0051)


def test_the_model_alone_knows_its_classes(tmp_path: Path) -> None:
    trained(tiny_classification(tmp_path))
    extras = load_checkpoint(tmp_path / LAST)["extras"]
    assert extras == {"classes": ["circle", "cross", "square", "star", "triangle"], "several": False, "built_px": 32}


def test_a_trial_climbs_to_larger_images(tmp_path: Path) -> None:
    first = tiny_classification(tmp_path, training__subset_size=16)
    with session_of(first) as session:
        session.train(1, Hooks())
        session.climb(tiny_classification(tmp_path, data__image_size=48), 2)
        outcome = session.train(3, Hooks())
    assert [evaluation.rung for evaluation in outcome.evaluations] == [1, 2, 2]


@pytest.mark.skipif(not SIGNS.is_dir(), reason="the hand signs are not here")
def test_the_hand_signs_are_read_as_they_lie() -> None:
    config = load_config(ROOT / "configs" / "classification_small.yaml", {"data.images_dir": str(SIGNS)})
    summary = check_data(config)
    assert (summary.train_images, summary.val_images, summary.warnings) == (1651, 411, ())


@pytest.mark.release
@pytest.mark.skipif(not SIGNS.is_dir(), reason="the hand signs are not here")
def test_a_search_on_hand_signs_ends_above_nine_in_ten(tmp_path: Path) -> None:
    words = ["run", str(ROOT / "trials" / "classification_space.yaml"), f"data.images_dir={SIGNS}"]
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *words, "--output-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "classification_space"
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert "final_accuracy" in rows[0]
    (run,) = (folder / "full").iterdir()
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["metrics"]["accuracy"] > 0.9
    assert (run / "samples" / "last.json").is_file()


def test_pictures_of_any_kind_are_read(tmp_path: Path) -> None:
    for number, mode in enumerate(("L", "LA", "P", "RGBA", "CMYK", "1", "I;16")):
        for name in ("a", "b"):
            path = write_picture(tmp_path / "images" / name / f"{number}.png", number)
            with Image.open(path) as image:
                kind = "tif" if mode == "CMYK" else "png"
                image.convert(mode).save(path.with_suffix(f".{kind}"))
                if kind == "tif":
                    path.unlink()
    assert trained(tiny_classification(tmp_path, {"data.images_dir": str(tmp_path / "images")}), until=1).epoch == 1
