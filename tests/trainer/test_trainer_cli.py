"""`python -m trainer`: arguments in, words out, and an exit status that scripts can rely on."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from trainer_parts import TINY, metrics_lines, same, tiny, trained, training_state
from typer.testing import CliRunner

from trainer.api import dump_yaml, known_keys, parse_yaml, resolve_config
from trainer.checkpoints.files import LAST, load_checkpoint
from trainer.cli import commands as cli


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(dump_yaml({**TINY, "checkpoint": {"dir": str(tmp_path / "run")}}))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run of two epochs."""
    folder = tmp_path_factory.mktemp("finished")
    trained(tiny(folder, training__epochs=2))
    return folder


def run(*words: Any) -> Any:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def test_training_says_what_it_does_on_stderr_and_ends_with_0(config_file: Path, tmp_path: Path) -> None:
    result = run("train", "--config", config_file, "training.epochs=2", "training.lr=1e-3")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "built-in shapes scenes" in result.stderr
    assert "device cpu, precision fp32 (auto: a CPU)" in result.stderr
    assert re.search(r"epoch 2/2  step 16  train_loss [\d.]+  val_loss [\d.]+  bleu [\d.]+", result.stderr)
    assert "done: 2 epochs, 16 steps" in result.stderr
    assert [line["epoch"] for line in metrics_lines(tmp_path / "run")] == [1, 2]
    assert load_checkpoint(tmp_path / "run" / LAST)["config"]["training"]["optimizer"]["lr"] == 1e-3


def test_options_are_keys_and_a_resumed_run_is_a_straight_one(config_file: Path, tmp_path: Path) -> None:
    first = run("train", "--config", config_file, "--max-iter", 7, "--eval-interval", 2, "--subset-size", 20)
    assert first.exit_code == 0
    state = load_checkpoint(tmp_path / "run" / LAST)
    training = state["config"]["training"]
    assert (training["max_iter"], training["eval_interval"], training["subset_size"]) == (7, 2, 20)
    assert state["progress"]["step"] == 7
    options = ("--config", config_file, "--eval-interval", 2, "--subset-size", 20)
    assert run("train", *options, "--resume", tmp_path / "run" / LAST).exit_code == 0
    straight = tiny(tmp_path / "straight", training__eval_interval=2, training__subset_size=20)
    trained(straight)
    assert same(training_state(tmp_path / "run"), training_state(tmp_path / "straight"))
    assert run("train", *options, "--overfit", "training.epochs=1").exit_code == 0
    assert load_checkpoint(tmp_path / "run" / LAST)["config"]["training"]["overfit"] is True


@pytest.mark.parametrize("words", [["--config_filename", "{}"], ["--config-filename={}"]])
def test_options_by_the_names_of_other_programs(words: list[str], config_file: Path, tmp_path: Path) -> None:
    few = ["training.epochs=1", "logging.every_n_steps=3", "--subset_size", 20, "--eval_interval=1"]
    result = run("train", *(word.replace("{}", str(config_file)) for word in words), *few)
    assert result.exit_code == 0, result.stderr
    assert load_checkpoint(tmp_path / "run" / LAST)["config"]["training"]["subset_size"] == 20
    assert re.search(r"^step 3  running_loss [\d.]+  running_lr [\d.]+$", result.stderr, re.MULTILINE)


def test_a_warm_up_that_outlasts_the_run_is_said(config_file: Path) -> None:
    result = run("train", "--config", config_file, "training.scheduler.warmup_steps=30", "training.max_iter=2")
    said = "training.scheduler.warmup_steps=30, and the run has 2 optimizer steps: the warm-up never ends"
    assert f"warning: {said}, and the rate does not reach 0.005" in result.stderr


def test_every_mistake_is_listed_with_status_2_before_anything_runs(config_file: Path, tmp_path: Path) -> None:
    result = run("train", "--config", config_file, "training.epoch=3", "model.dropout=2", "training.batch_size=four")
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert lines[0] == "error: training.epoch: unknown key; did you mean training.epochs?"
    assert any(line.startswith("training.batch_size: must be a whole number") for line in lines)
    assert any("model.dropout" in line and "less than 1" in line for line in lines)
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--config", "gone.yaml"], "gone.yaml: no such file"),
        (["train", "--config", "{config}", "--subset-size", "3", "training.subset_size=4"], "by an option and by key"),
        (["train", "--config", "{config}", "nonsense"], "expected key=value"),
        (["train", "--config", "{config}", "data.images_dir=x", "data.caption_file=y"], "no such caption file"),
        (["train", "--config", "{config}", "--resume", "gone.pth"], "no such checkpoint"),
        (["train", "--config", "{config}", "training.precision=fp16"], "fp16 needs a GPU"),
        (["config", "captionin"], "unknown task 'captionin'; did you mean captioning?"),
        (["config", "captioning", "detection"], "name one task: captioning"),
        (["evaluate", "--checkpoint", "{config}"], "has no checksum"),
        (["evaluate", "--checkpoint", "{config}", "--split", "train"], "must be auto, val or all"),
        (["predict", ".", "--checkpoint", "gone.pth"], "no such checkpoint"),
        (["predict", "gone", "--checkpoint", "gone.pth"], "no such folder"),
        (["predict", ".", "--checkpoint", "gone.pth", "--output", "no/where.csv"], "no such folder"),
    ],
)
def test_wrong_usage_is_one_message_with_status_2(words: list[str], said: str, config_file: Path) -> None:
    result = run(*(word.replace("{config}", str(config_file)) for word in words))
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(("error: ", f"{config_file}"))
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_what_fails_while_training_is_status_1(config_file: Path) -> None:
    explode = ["training.optimizer.type=sgd", "training.optimizer.lr=1e30", "training.grad_clip=0"]
    result = run("train", "--config", config_file, *explode, "training.scheduler.type=constant")
    assert result.exit_code == 1
    assert "error: the training loss is" in result.stderr
    assert "Traceback" not in result.stderr


def test_with_debug_the_error_itself_comes_out(config_file: Path) -> None:
    result = run("train", "--config", config_file, "speed=1", "--debug")
    assert type(result.exception).__name__ == "ConfigError"


def test_the_best_of_an_earlier_run_in_the_folder_is_kept(config_file: Path, tmp_path: Path) -> None:
    assert "kept as" not in run("train", "--config", config_file, "training.epochs=1").stderr
    best = (tmp_path / "run" / "best.pth").read_bytes()
    again = run("train", "--config", config_file, "training.epochs=1", "training.lr=1e-4")
    assert "checkpoints in " in again.stderr
    assert "are replaced; its best is kept as earlier_best.pth" in again.stderr.replace("\n", " ")
    assert (tmp_path / "run" / "earlier_best.pth").read_bytes() == best


def test_a_run_without_checkpoints_says_so(config_file: Path) -> None:
    result = run("train", "--config", config_file, "checkpoint.save=false", "training.epochs=1")
    assert result.exit_code == 0
    assert "no checkpoints" in result.stderr


def test_early_stopping_is_said_with_its_reason(config_file: Path) -> None:
    rule = "{enabled: true, patience: 1, min_delta: 100}"
    result = run("train", "--config", config_file, f"training.early_stopping={rule}")
    assert result.exit_code == 0
    assert "stopped early: validation loss has not fallen by more than 100 for 1 evaluations" in result.stderr


def test_evaluate_prints_what_training_found(finished: Path) -> None:
    result = run("evaluate", "--checkpoint", finished / LAST)
    assert result.exit_code == 0
    found, (*_, last) = json.loads(result.stdout), metrics_lines(finished)
    assert found == {name: last["metrics"][name] for name in ("val_loss", "bleu")}


def test_evaluate_on_other_images_takes_them_all(finished: Path) -> None:
    own = json.loads(run("evaluate", "--checkpoint", finished / LAST, "data.num_workers=1").stdout)
    every = json.loads(run("evaluate", "--checkpoint", finished / LAST, "--split", "all").stdout)
    other = json.loads(run("evaluate", "--checkpoint", finished / LAST, "data.scenes.seed=5").stdout)
    part = json.loads(run("evaluate", "--checkpoint", finished / LAST, "data.scenes.seed=5", "--split", "val").stdout)
    assert own["val_loss"] == metrics_lines(finished)[-1]["metrics"]["val_loss"], "another setting is no other data"
    assert len({result["val_loss"] for result in (own, every, other, part)}) == 4
    beams = json.loads(run("evaluate", "--checkpoint", finished / LAST, "evaluation.beam_size=4").stdout)
    assert beams["val_loss"] == own["val_loss"]


def test_what_was_trained_is_evaluated_as_it_is(finished: Path) -> None:
    best = finished / "best.pth"
    result = run("evaluate", "--checkpoint", best, "model.decoder_dim=32", "model.dropout=0.1")
    assert result.exit_code == 2
    assert "model.decoder_dim: belongs to what was trained, with 16; leave it as it is" in result.stderr
    assert "model.dropout: belongs to what was trained" in result.stderr
    assert run("evaluate", "--checkpoint", best, "model.decoder_dim=16", "evaluation.beam_size=2").exit_code == 0


def test_predictions_are_not_written_over_a_folder(finished: Path, tmp_path: Path) -> None:
    result = run("predict", tmp_path, "--checkpoint", finished / "best.pth", "--output", tmp_path)
    assert result.exit_code == 2
    assert f"--output: {tmp_path} is a folder; name a file" in result.stderr


def test_predict_writes_one_row_an_image(finished: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, name in enumerate(("b.png", "a, first.jpg", "c.PNG")):
        Image.new("RGB", (40 + number, 30), (0, 90 * number, 200)).save(pictures / name)
    (pictures / "notes.txt").write_text("no image")
    shown = run("predict", pictures, "--checkpoint", finished / LAST)
    assert shown.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert [row["image"] for row in rows] == ["a, first.jpg", "b.png", "c.PNG"]
    assert set(rows[0]) == {"image", "caption"}
    written = run("predict", pictures, "--checkpoint", finished / LAST, "--output", tmp_path / "out.csv")
    assert (written.exit_code, written.stdout) == (0, "")
    assert (tmp_path / "out.csv").read_text() == shown.stdout
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no image in it" in run("predict", empty, "--checkpoint", finished / LAST).stderr


@pytest.mark.parametrize("task", ["captioning"])
def test_the_printed_defaults_resolve_to_the_defaults(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("config", task)
    assert result.exit_code == 0
    printed = parse_yaml(result.stdout, "stdout")
    assert resolve_config(printed) == resolve_config({"task": task, "data": {"scenes": {}}})
    for path, key in known_keys(task).items():
        assert f"{path.rsplit('.', 1)[-1]}: " in result.stdout
        assert key.meaning in result.stdout


def test_an_older_file_is_printed_in_canonical_form(tmp_path: Path) -> None:
    older = tmp_path / "older.yaml"
    older.write_text(
        "dataset: {image_size: 64, val_part: 0.25}\n"
        "optimizer: {type: adamw, lr: 3e-4}\n"
        "lr_scheduler: {type: CosineAnnealingLR, warmup_steps: 10}\n"
        "training: {use_amp: true, num_epochs: 7}\n"
        "directories: {models: /models}\n"
        "data: {scenes: {images: 30}}\n"
    )
    result = run("config", "--from", older, "task=captioning")
    assert result.exit_code == 0
    assert parse_yaml(result.stdout, "stdout") == {
        "task": "captioning",
        "data": {"image_size": 64, "val_split": 0.25, "scenes": {"images": 30}},
        "training": {
            "epochs": 7,
            "precision": "auto",
            "optimizer": {"type": "adamw", "lr": 3e-4},
            "scheduler": {"type": "cosine", "warmup_steps": 10},
        },
        "checkpoint": {"dir": "/models"},
    }
    assert run("config", "--from", older).exit_code == 2, "the task is missing"
    assert resolve_config(parse_yaml(result.stdout, "stdout")).training.epochs == 7


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--config", "gone.yaml"], 2, "gone.yaml: no such file"),
        (["config", "captioning"], 0, "task: captioning"),
        (["--help"], 0, "Usage: python -m trainer"),
        (["--nonsense"], 2, "No such option"),
    ],
)
def test_train_is_the_command_where_none_is_named(
    arguments: list[str], status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trainer", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == status
    output = capsys.readouterr()
    assert said in output.out + output.err


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if condition() or process.poll() is not None:
            return
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_checkpoint_that_goes_on(
    number: signal.Signals, status: int, config_file: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", "--config", str(config_file), "training.epochs=100000"],
        stderr=subprocess.PIPE, text=True, env=dict(os.environ), cwd=Path(cli.__file__).parents[1],
    )  # fmt: skip
    try:
        metrics = tmp_path / "run" / "metrics.jsonl"
        wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 1, process)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == status, said
    last = tmp_path / "run" / LAST
    assert f"continue with --resume {last}" in said
    state = load_checkpoint(last)
    until = state["progress"]["epoch"] + 1
    result = run("train", "--config", config_file, f"training.epochs={until}", "--resume", last)
    assert result.exit_code == 0, result.stderr
    trained(tiny(tmp_path / "straight", training__epochs=until))
    assert same(training_state(tmp_path / "run"), training_state(tmp_path / "straight"))
    assert [line["epoch"] for line in metrics_lines(tmp_path / "run")] == list(range(1, until + 1))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_data_are_prepared_ends_the_run_at_once(
    number: signal.Signals, status: int, config_file: Path, tmp_path: Path
) -> None:
    words = ["--config", str(config_file), "data.scenes.images=100000", "data.scenes.size=128"]  # drawn for minutes
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", *words], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "RUNGWISE_CACHE": str(tmp_path / "cache")}, cwd=Path(cli.__file__).parents[1],
    )  # fmt: skip
    try:
        wait_for(lambda: len(list((tmp_path / "cache").rglob("*.jpg"))) > 10, process)
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == status, said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_second_run_in_a_folder_is_refused_until_the_first_has_ended(config_file: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", "--config", str(config_file), "training.epochs=100000"],
        stderr=subprocess.PIPE, text=True, env=dict(os.environ), cwd=Path(cli.__file__).parents[1],
    )  # fmt: skip
    try:
        last = tmp_path / "run" / LAST
        wait_for(last.exists, process)
        refused = run("train", "--config", config_file, "training.epochs=1")
        assert refused.exit_code == 2
        assert f"checkpoint.dir: {last.parent} is in use by another run (process {process.pid})" in refused.stderr
        assert process.poll() is None, "the first one does not notice"
    finally:
        process.kill()
        process.communicate()
    assert run("train", "--config", config_file, "training.epochs=1").exit_code == 0
