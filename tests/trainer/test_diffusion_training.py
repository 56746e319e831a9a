"""Diffusion runs: resumed ones equal straight ones, judged at noise that never changes, images kept and predicted."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusion_parts import tiny_diffusion, write_captions, write_custom
from PIL import Image
from torchvision.models import resnet18
from trainer_parts import metrics_lines, same, session_of, stop_after, trained, training_state, without_seconds
from typer.testing import CliRunner

from trainer.api import DataError, Hooks, check_data, evaluate, load_config, predict
from trainer.checkpoints.files import LAST
from trainer.cli import commands as cli
from trainer.data.predicted import rows_of_prompts
from trainer.learning.criterion import CRITERIA
from trainer.run.run import task_for
from trainer.run.writer import write_samples
from trainer.task.protocols import Scores
from trainer.tasks.diffusion.files import prompt_in
from trainer.tasks.diffusion.rows import TrainRows

OLDER = Path(__file__).parent / "older" / "diffusion.yaml"


def val_losses(folder: Path) -> list[float]:
    return [line["metrics"]["val_loss"] for line in metrics_lines(folder)]


@pytest.mark.parametrize("more", [
    {}, {"training__ema_decay": 0.9, "training__accumulate_grad_batches": 2, "data__cache_gb": 0.0},
])  # fmt: skip
def test_stopping_and_going_on_equals_never_having_stopped(more: dict[str, Any], tmp_path: Path) -> None:
    """With dropout on, captions drawn and dropped, images sampled at every evaluation in between."""
    straight = trained(tiny_diffusion(tmp_path / "straight", **more))
    config = tiny_diffusion(tmp_path / "run", **more)
    assert trained(config, hooks=Hooks(should_stop=stop_after(4))).ending == "interrupted"
    trained(config, until=2, resume=True)
    gone_on = trained(config, resume=True)
    assert without_seconds(gone_on.evaluations) == without_seconds(straight.evaluations)
    assert same(training_state(tmp_path / "run"), training_state(tmp_path / "straight"))
    for name in ("last.json", "best.json"):
        one, other = (json.loads((tmp_path / run / "samples" / name).read_text()) for run in ("run", "straight"))
        assert [Path(s["generated"]).name for s in one["samples"]] == [
            Path(s["generated"]).name for s in other["samples"]
        ]


def test_sampling_changes_nothing_about_the_training(tmp_path: Path) -> None:
    trained(tiny_diffusion(tmp_path / "with"))
    trained(tiny_diffusion(tmp_path / "without", evaluation__samples=0))
    assert same(training_state(tmp_path / "with"), training_state(tmp_path / "without"))
    assert not (tmp_path / "without" / "samples").exists()


@pytest.mark.slow
def test_the_loss_falls_on_a_few_images(tmp_path: Path) -> None:
    config = tiny_diffusion(
        tmp_path, training__overfit=True, training__subset_size=4, training__epochs=60, training__schedule_epochs=60,
        training__optimizer__lr=1e-2, training__eval_interval=20, model__dropout=0.0, evaluation__samples=0,
        evaluation__noise_levels=8,
    )  # fmt: skip
    trained(config)
    first, second, third = val_losses(tmp_path)
    assert third < second < first < 1.1
    assert third < 0.8


def test_validation_noise_depends_on_nothing_but_the_image(tmp_path: Path) -> None:
    """Trials of any seed, size of batches and subset are judged at the same noise."""
    batches = []
    for change in ({}, {"seed": 9, "data__split_seed": 3}, {"training__subset_size": 5}, {"training__batch_size": 3}):
        config = tiny_diffusion(tmp_path, **{"data__split_seed": 3, **change})
        rows: Any = task_for(config).open_rows().val
        batches.append(rows.__getitems__([(1, n) for n in range(len(rows))]))
    for batch in batches[1:]:
        for name in ("numbers", "levels", "noise"):
            assert torch.equal(batch[name], batches[0][name])
    levels = batches[0]["levels"]
    assert levels.shape == (5, 2)
    assert bool((levels[:, 0] < 500).all() and (levels[:, 1] >= 500).all()), "one from each half"
    task = task_for(tiny_diffusion(tmp_path, evaluation__noise_levels=5))
    assert task.open_rows().val.__getitems__([(7, 0)])["levels"].shape == (1, 5)


def drawn(tmp_path: Path, epoch: int = 1, **change: Any) -> Any:
    rows: Any = task_for(tiny_diffusion(tmp_path, **change)).open_rows().train
    assert isinstance(rows, TrainRows)
    return rows.__getitems__([(epoch, n) for n in range(len(rows))])


def test_training_noise_and_captions_change_from_epoch_to_epoch(tmp_path: Path) -> None:
    first, second, other_seed = drawn(tmp_path), drawn(tmp_path, epoch=2), drawn(tmp_path, seed=9, data__split_seed=3)
    assert same(first, drawn(tmp_path))
    for name in ("levels", "noise"):
        assert not torch.equal(first[name], second[name])
        assert not torch.equal(first[name], other_seed[name])
    assert int(first["levels"].max()) < 1000
    assert int(drawn(tmp_path, diffusion__num_train_timesteps=10)["levels"].max()) < 10
    assert first["words"].shape != second["words"].shape or not torch.equal(first["words"], second["words"])


def test_captions_are_dropped_as_often_as_is_said(tmp_path: Path) -> None:
    empty = [int((drawn(tmp_path, diffusion__caption_dropout=p)["words"][:, 2:] != 0).any(1).logical_not().sum())
             for p in (0.0, 0.5, 1.0)]  # fmt: skip
    assert empty[0] == 0
    assert 4 <= empty[1] <= 15
    assert empty[2] == 19
    overfit = drawn(tmp_path, diffusion__caption_dropout=1.0, training__overfit=True)["words"]
    assert bool((overfit[:, 2:] != 0).any(1).all()), "what is to be fitted keeps its captions"


def test_rows_without_an_image_of_their_own_are_never_both_sides(tmp_path: Path) -> None:
    with session_of(tiny_diffusion(tmp_path)) as session:
        rows: Any = session.run.loaders.rows
        assert not set(rows.train.rows.tolist()) & set(rows.val.rows.tolist())


@pytest.mark.parametrize("change", [
    {"diffusion__prediction_type": "v_prediction"}, {"diffusion__beta_end": 0.5}, {"diffusion__beta_start": 0.01},
    {"diffusion__beta_schedule": "linear"}, {"criterion__type": "l1"}, {"criterion__reduction": "sum"},
    {"text_encoder__num_layers": 0}, {"text_encoder__max_length": 4}, {"text_encoder__num_heads": 1},
    {"evaluation__noise_levels": 3}, {"data__freq_threshold": 30}, {"vae__seed": 1},
])  # fmt: skip
def test_each_choice_has_its_effect_on_the_loss(change: dict[str, Any], tmp_path: Path) -> None:
    one, other = (
        tiny_diffusion(tmp_path / str(n), evaluation__samples=0, **each) for n, each in enumerate(({}, change))
    )
    for config in (one, other):
        trained(config, until=2)
    assert val_losses(tmp_path / "0") != val_losses(tmp_path / "1")


def test_the_loss_is_the_criterion_over_the_target(tmp_path: Path) -> None:
    for kind in ("mse", "l1", "smooth_l1"):
        task: Any = task_for(tiny_diffusion(tmp_path, criterion__type=kind))
        rows = task.open_rows()
        model = task.build_model(weights=True).eval()  # predicts zero
        batch = rows.train.__getitems__([(1, 0), (1, 1)])
        from trainer.learning.randomness import normals

        noise = normals(batch["noise"], 4 * 4 * 4)
        expected = CRITERIA[kind](torch.zeros_like(noise), noise, reduction="none").mean(1).sum()
        assert float(task.loss(model, batch).detach()) == pytest.approx(float(expected), rel=1e-5)


def samples_of(folder: Path, name: str = "last.json") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "samples" / name).read_text())["samples"]
    return found


def test_samples_are_small_files_beside_the_images_that_they_should_show(tmp_path: Path) -> None:
    trained(tiny_diffusion(tmp_path))
    found = samples_of(tmp_path)
    assert len(found) == 2
    for sample in found:
        generated = tmp_path / "samples" / sample["generated"]
        assert generated.stat().st_size < 2000
        with Image.open(generated) as picture:
            assert (picture.format, picture.size, picture.mode) == ("PNG", (16, 16), "RGB")
        assert Path(sample["image"]).is_file()
        assert len(sample["references"]) == 1
    named = {s["generated"] for name in ("last.json", "best.json") for s in samples_of(tmp_path, name)}
    assert {path.name for path in (tmp_path / "samples").glob("*.png")} == named, "what nobody names any more is gone"


def test_prompts_of_one_s_own_are_shown_without_an_image_beside_them(tmp_path: Path) -> None:
    trained(tiny_diffusion(tmp_path, evaluation__prompts=["a red circle", "nothing", "too many"]), until=1)
    found = samples_of(tmp_path)
    assert [sample["references"] for sample in found] == [["a red circle"], ["nothing"]], "as many as samples"
    assert all("image" not in sample and (tmp_path / "samples" / sample["generated"]).is_file() for sample in found)


def test_pictures_are_named_by_what_they_show(tmp_path: Path) -> None:
    def samples(*colours: str) -> list[dict[str, Any]]:
        found = []
        for colour in colours:
            file = io.BytesIO()
            Image.new("RGB", (4, 4), colour).save(file, "PNG")
            found.append({"image": "x.png", "references": ["a"], "predictions": [], "generated": file.getvalue()})
        return found

    write_samples(tmp_path, 1, Scores({}, samples("red", "blue")), improved=True)
    write_samples(tmp_path, 2, Scores({}, samples("red", "green")), improved=False)
    assert len(list(tmp_path.glob("*.png"))) == 3
    last, best = (json.loads((tmp_path / name).read_text()) for name in ("last.json", "best.json"))
    assert (last["epoch"], best["epoch"]) == (2, 1)
    assert last["samples"][0]["generated"] == best["samples"][0]["generated"]
    colours = []
    for sample in best["samples"]:
        with Image.open(tmp_path / sample["generated"]) as picture:
            colours.append(picture.getpixel((0, 0)))
    assert colours == [(255, 0, 0), (0, 0, 255)]
    write_samples(tmp_path, 3, Scores({}, samples("white")), improved=True)
    assert len(list(tmp_path.glob("*.png"))) == 1


@pytest.mark.parametrize("change", [
    {"evaluation.guidance_scale": 1.0}, {"evaluation.guidance_scale": 9.0}, {"evaluation.sampling_steps": 3},
])  # fmt: skip
def test_how_images_are_made_can_be_changed_later(change: dict[str, Any], tmp_path: Path) -> None:
    trained(tiny_diffusion(tmp_path / "run", training__optimizer__lr=0.05, evaluation__samples=0))
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.txt").write_text("a red circle")
    plain, other, again = (
        next(iter(predict(tmp_path / "run" / LAST, tmp_path / "prompts", each)))["generated"]
        for each in ({}, change, {})
    )
    assert plain == again
    assert plain != other


def test_predict_makes_an_image_for_each_text(tmp_path: Path) -> None:
    trained(tiny_diffusion(tmp_path / "run"), until=1)
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    for name, text in {"b.txt": "a red\n circle", "a.txt": "zwei Sterne", "c.md": "no prompt"}.items():
        (prompts / name).write_text(text)
    words = [
        "predict",
        str(prompts),
        "--checkpoint",
        str(tmp_path / "run" / LAST),
        "--output",
        str(tmp_path / "out.csv"),
    ]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.stderr
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["prompt"], row["text"]) for row in rows] == [("a.txt", "zwei Sterne"), ("b.txt", "a red circle")]
    assert [Path(row["generated"]).name for row in rows] == ["0001-a.png", "0002-b.png"]
    for row in rows:
        with Image.open(row["generated"]) as picture:
            assert picture.size == (16, 16)
    before = Path(rows[1]["generated"]).read_bytes()
    (prompts / "a.txt").unlink()
    (alone,) = predict(tmp_path / "run" / LAST, prompts, {})
    assert alone["generated"] == before, "the same words, the same image"


def test_prompts_are_found_whatever_the_case_of_their_ending(tmp_path: Path) -> None:
    for name in ("b.txt", "a.TXT", "c.Txt", "d.md"):
        (tmp_path / name).write_text(f"words of {name}")
    rows = rows_of_prompts(
        tmp_path,
        tiny_diffusion(tmp_path / "run"),
        lambda name: prompt_in(tmp_path / name),
        lambda names, texts: [[pair] for pair in zip(names, texts, strict=True)],
    )
    assert list(rows) == [(name, f"words of {name}") for name in ("a.TXT", "b.txt", "c.Txt")]


def test_a_prompt_of_windows_is_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a red circle", encoding="utf-8-sig")
    assert prompt_in(tmp_path / "a.txt") == "a red circle"


def test_prompts_that_are_none_are_said(tmp_path: Path) -> None:
    trained(tiny_diffusion(tmp_path / "run", evaluation__samples=0), until=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no prompt in it \(\*\.txt, one prompt a file\)"):
        list(predict(tmp_path / "run" / LAST, tmp_path / "empty", {}))
    (tmp_path / "empty" / "blank.txt").write_text(" \n")
    with pytest.raises(
        DataError,
        match=r"1 unreadable prompt: blank\.txt, and no other in it \(.*no readable words in it \(UTF-8 text\)\)",
    ):
        list(predict(tmp_path / "run" / LAST, tmp_path / "empty", {}))


def test_a_checkpoint_is_judged_on_other_data(tmp_path: Path) -> None:
    trained(tiny_diffusion(tmp_path / "run"))
    own = evaluate(tmp_path / "run" / LAST, {}, everything=False)["val_loss"]
    assert own == pytest.approx(val_losses(tmp_path / "run")[-1], rel=1e-4)
    other = write_custom(tmp_path / "data", write_captions(tmp_path / "data"))
    words = [f"{key}={value}" for key, value in other.items()]
    result = CliRunner().invoke(cli.app, ["evaluate", "--checkpoint", str(tmp_path / "run" / LAST), *words])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["val_loss"]
    assert found == pytest.approx(evaluate(tmp_path / "run" / LAST, other, everything=True)["val_loss"])
    assert found != pytest.approx(own)


def test_the_frechet_distance_is_reported_by_its_backbone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(resnet18().state_dict(), tmp_path / "resnet.pth")
    frechet = {"metrics__frechet_backbone": "resnet18", "metrics__frechet_weights": str(tmp_path / "resnet.pth")}
    trained(tiny_diffusion(tmp_path / "run", **frechet, metrics__frechet_images=4), until=1)
    trained(tiny_diffusion(tmp_path / "plain"), until=1)
    (metrics,) = [line["metrics"] for line in metrics_lines(tmp_path / "run")]
    assert metrics.pop("frechet_resnet18") > 0.0
    assert metrics == metrics_lines(tmp_path / "plain")[0]["metrics"], "and changes nothing else"
    with pytest.raises(DataError, match=r"frechet_backbone needs 2 validation images, and there is 1: raise"):
        check_data(tiny_diffusion(tmp_path / "run", **frechet, data__val_subset_size=1))
    (tmp_path / "resnet.pth").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"resnet\.pth: not a file of weights"):
        trained(tiny_diffusion(tmp_path / "run", **frechet), until=1)
    torch.save({"conv1.weight": torch.ones(1)}, tmp_path / "resnet.pth")
    with pytest.raises(DataError, match=r"weights of another model"):
        trained(tiny_diffusion(tmp_path / "run", **frechet), until=1)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_both_precisions_of_a_cpu(precision: str, tmp_path: Path) -> None:
    outcome = trained(tiny_diffusion(tmp_path, training__precision=precision), until=1)
    assert outcome.precision.startswith(precision)
    assert np.isfinite(outcome.evaluations[0].value)


def test_progressive_resizing(tmp_path: Path) -> None:
    config = tiny_diffusion(tmp_path, data__image_size=32, training__resize_schedule=[[1, 16], [3, 32]])
    assert trained(config).ending == "finished"
    assert len(val_losses(tmp_path)) == 3


def test_an_older_diffusion_file_trains_and_says_what_it_assumes(tmp_path: Path) -> None:
    data = write_custom(tmp_path / "data", write_captions(tmp_path / "data"))
    text = OLDER.read_text().replace("  train_split: 0.9\n", "")
    (tmp_path / "older.yaml").write_text(text)
    small = {
        **data, "task": "diffusion", "device": "cpu", "checkpoint.dir": str(tmp_path / "run"), "data.num_workers": 0,
        "data.image_size": 32, "model.hidden_size": 32, "model.num_layers": 1, "model.num_heads": 2,
        "model.attention_head_dim": 16, "training.epochs": 1, "training.batch_size": 4, "data.freq_threshold": 1,
        "vae.type": "builtin", "vae.train_steps": 2, "vae.width": 8, "text_encoder.type": "builtin",
        "evaluation.sampling_steps": 2,
    }  # fmt: skip
    config = load_config(tmp_path / "older.yaml", small)
    assert (config.diffusion.beta_schedule, config.training.ema_decay) == ("scaled_linear", 0.9999)
    words = [f"{key}={value}" for key, value in small.items()]
    result = CliRunner().invoke(cli.app, ["train", "--config", str(tmp_path / "older.yaml"), *words])
    assert result.exit_code == 0, result.stderr
    assert "data.train_split is not given: 0.9" in result.stderr
    assert [line["epoch"] for line in metrics_lines(tmp_path / "run")] == [1]
    said = CliRunner().invoke(cli.app, ["train", "--config", str(OLDER), *words, "training.max_iter=1"])
    assert "train_split" not in said.stderr
