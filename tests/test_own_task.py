"""A task of a user's own: the document that builds one, run as it stands, and what is said of one that is broken."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from in_process import command
from typer.testing import CliRunner

from trainer.api import (
    ConfigError,
    TaskError,
    check_data,
    known_keys,
    load_config,
    reads_data,
    redefines_loss,
    resolve_config,
    task_of,
    train,
)
from trainer.cli import commands as cli
from trainer.config.registry import find_task

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "own-task.md"
MOST_LINES = 100
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))


def files() -> dict[str, str]:
    """The document's files by name, which stands in their first line."""
    named = ((re.match(r'(?:# |""")([\w.]+)', text), text) for kind, text in blocks() if kind != "sh")
    return {match[1]: text for match, text in named if match}


def write_files(place: Path) -> Path:
    for name, text in files().items():
        (place / name).write_text(text, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def folder(shared_folder: Callable[..., Path]) -> Path:
    """The document's files, and everything that its commands made, in their order."""

    def fill(place: Path) -> None:
        write_files(place)
        for kind, text in blocks():
            if kind == "sh":
                for line in text.splitlines():
                    done = typed(line, place)
                    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                    with (place / "said.txt").open("a", encoding="utf-8") as said:
                        said.write(done.stdout)
        forget_modules()

    return shared_folder("own-task", fill)


def typed(line: str, place: Path) -> Any:
    """Runs a line as a person types it; what trains or searches runs in this process."""
    match = re.fullmatch(r"python -m (trainer|orchestrator) (?!plan)(.*)", line)
    if match is None:
        return shell(line, place)
    words = [word for pattern in match[2].split() for word in sorted(place.glob(pattern)) or [pattern]]
    return command(match[1], [str(word) for word in words], place, path=[place])


def shell(text: str, place: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": path}
    words = ["bash", "-euo", "pipefail", "-c", text]
    return subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, timeout=280, check=False)


def test_the_task_is_short() -> None:
    assert len(files()["regression.py"].splitlines()) < MOST_LINES


@pytest.mark.usefixtures("modules")
def test_it_trains(tmp_path: Path) -> None:
    made = shell("python make_table.py", write_files(tmp_path))
    assert made.returncode == 0, made.stderr
    words = ["--config", "regression.yaml", "training.epochs=5", "checkpoint.dir=run"]
    done = command("trainer", words, tmp_path, path=[tmp_path])
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["metrics"]["r2"] > lines[0]["metrics"]["r2"]


@pytest.mark.slow
def test_it_is_searched_promoted_and_reported(folder: Path) -> None:
    study = folder / "outputs" / "trials"
    with (study / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["trial_id", "status", "final_r2", "final_loss"]
    assert "best_r2" in rows[0]
    assert len(rows) == 6
    assert "failed" not in {row["status"] for row in rows}
    (run,) = (study / "full").iterdir()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 20
    assert lines[-1]["metrics"]["r2"] > 0.9
    assert "R²" in (study / "report.html").read_text(encoding="utf-8")
    assert "task: regression:Regression" in (study / "best.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_its_checkpoint_is_evaluated_alone(folder: Path) -> None:
    evaluated = (folder / "said.txt").read_text().strip().splitlines()[-1]
    assert json.loads(evaluated)["r2"] > 0.9


@pytest.mark.usefixtures("modules")
def test_its_keys_are_explained(tmp_path: Path) -> None:
    write_files(tmp_path)
    done = CliRunner().invoke(cli.app, ["config", "regression:Regression"])
    assert "of both hidden layers" in done.stdout, done.stderr
    page = CliRunner().invoke(cli.app, ["config", "--markdown", "regression:Regression"])
    assert "| `model.width` | `64` | whole number, ≥ 1: of both hidden layers |" in page.stdout, page.stderr


@pytest.mark.usefixtures("modules")
def test_mistakes_are_named_as_those_of_every_task(tmp_path: Path) -> None:
    folder = write_files(tmp_path)
    (folder / "wrong.json").write_text(json.dumps([{"model.widht": 3}, {"model.dropout": 2}]))
    words = ["plan", "wrong.json", "--base-config", "regression.yaml", "data.file=no.csv"]
    done = command("orchestrator", words, folder, path=[folder])
    assert "unknown key; did you mean model.width?" in done.stderr
    assert "model.dropout: input should be less than 1" in done.stderr
    assert "no.csv: no table of numbers" in done.stderr


@pytest.mark.slow
def test_from_where_it_cannot_be_found_it_says_where_it_looked(folder: Path, tmp_path: Path) -> None:
    done = shell(f"python -m orchestrator report {folder}/outputs/trials || exit 0", tmp_path)
    assert "error: task: no module regression for regression:Regression" in done.stderr
    assert f"neither in {tmp_path} nor where Python looks (PYTHONPATH)" in done.stderr


BROKEN = {
    "empty_one": "",
    "no_parts": "class Mine: pass",
    "wrong_parts": "class Mine:\n    Config = int\n    Files = object\n    Task = 'wrong_parts:nothing'",
    "half_files": (
        "from trainer.api import RunConfig\n"
        "class Files:\n    @staticmethod\n    def metric(config): return None\n"
        "class Mine:\n    Config, Files, Task = RunConfig, Files, object"
    ),
    "late_task": (
        "from trainer.api import FilesDefaults, RunConfig\n"
        "class Files(FilesDefaults):\n    metric = check = None\n"
        "class Mine:\n    Config, Files, Task = 'late_task:RunConfig', Files, 'late_task:Late'\n"
        "class Late: pass"
    ),
    "plain_data": (
        "from trainer.api import FilesDefaults, RunConfig, Section\n"
        "class Data(Section):\n    pass\n"
        "class Config(RunConfig):\n    data: Data\n"
        "class Mine:\n    Config, Files, Task = Config, FilesDefaults, object"
    ),
    "raises": "raise OSError('the disk is gone')",
    "needs_more": "import a_package_that_nobody_has",
    "misspelt": "def broken(:",
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, text in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    forget_modules()


def forget_modules() -> None:
    for name in (*BROKEN, "regression"):
        sys.modules.pop(name, None)
    find_task.cache_clear()


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nowhere.at.all:Mine", "no module nowhere for nowhere.at.all:Mine: neither in .* nor where Python looks"),
        ("empty_one.deeper:Mine", r"no module empty_one\.deeper|is not a package"),
        ("empty_one:Mine", r"empty_one \(.*empty_one\.py\) has no Mine"),
        ("no_parts:Mien", "has no Mien; did you mean Mine"),
        ("no_parts:", "'no_parts:' is not of the form package.module:object"),
        (":Mine", "is not of the form"),
        ("no_parts:Mine", "no_parts:Mine has no Config; a task carries Config, Files, Task"),
        ("no_parts:Mine", "no_parts:Mine has no Task"),
        ("wrong_parts:Mine", "Config of wrong_parts:Mine is <class 'int'>, not a subclass of trainer.api.RunConfig"),
        (
            "wrong_parts:Mine",
            "Files of wrong_parts:Mine lacks metric, check, prepare, CHEAP_EVALUATION; see trainer.api.TaskFiles",
        ),
        ("half_files:Mine", "Files of half_files:Mine lacks check, prepare, CHEAP_EVALUATION"),
        ("half_files:Mine", "Task of half_files:Mine lacks open_rows, precompute, .*; see trainer.api.Task"),
        ("raises:Mine", "raises cannot be imported: OSError: the disk is gone"),
        (
            "needs_more:Mine",
            "needs_more cannot be imported: it needs a_package_that_nobody_has, which is not installed",
        ),
        ("misspelt:Mine", "misspelt cannot be imported: SyntaxError"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_is_missing(reference: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        task_of({"task": reference})
    assert {problem.where for problem in caught.value.problems} == {"task"}


@pytest.mark.usefixtures("modules")
def test_a_section_of_another_family_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"data in the Config of plain_data:Mine is <class .*Data'>, not a subclass of"
    ):
        task_of({"task": "plain_data:Mine"})


SLIPS = {
    "a vector": ('reduction="sum")', 'reduction="none")', "loss .* a Tensor of shape [8], not a tensor of one number"),
    "a float": ('reduction="sum")', 'reduction="sum").item()', "loss .* a float ("),
    "a mapping": ("return Scores(", "return dict(", "evaluate .* a dict, not a Scores"),
    "a word": ('"r2": 1.0', '"r2": "high", "r": 1.0', "evaluate .* a str ('high') for r2, not a number"),
    "no weight": (', "weight": len(rows)}', "}", "open_rows .* batches of inputs, targets, without their weight"),
    "no model": ("return nn.Sequential(*hidden", "nn.Sequential(*hidden", "build_model .* None, not a Module"),
    "no rows": ("return Rows(", "return (", "open_rows .* a tuple, not a Rows"),
    "no summary": ("return DataSummary(", "DataSummary(", "check .* None, not a DataSummary"),
    "no metric": ('"r2": 1.0', '"r": 1.0', "evaluate .* no r2, only val_loss, r"),
}


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_a_task_is_said_with_its_place(slip: str, tmp_path: Path) -> None:
    right, wrong, words = SLIPS[slip]
    folder = write_files(tmp_path)
    code = (folder / "regression.py").read_text(encoding="utf-8")
    assert right in code
    (folder / "regression.py").write_text(code.replace(right, wrong), encoding="utf-8")
    values = np.random.default_rng(0).normal(size=(60, 3))
    pd.DataFrame(values, columns=["a", "b", "price"]).to_csv(folder / "prices.csv", index=False)
    settings = {"training.epochs": 1, "training.batch_size": 8, "checkpoint.dir": str(tmp_path / "run")}
    config = load_config(folder / "regression.yaml", settings)
    with pytest.raises(TaskError) as caught:
        (check_data if words.startswith("check") else train)(config)
    method, _, what = words.partition(" .* ")
    assert str(caught.value).startswith(f"{method} of the task regression:Regression gave {what}")
    assert str(caught.value).endswith("(see trainer.api.Task)")


@pytest.mark.usefixtures("modules")
def test_numbers_of_other_libraries_are_numbers(tmp_path: Path) -> None:
    folder = write_files(tmp_path)
    code = (folder / "regression.py").read_text(encoding="utf-8")
    code = code.replace('"r2": 1.0', '"np": np.float32(0.5), "torch": torch.tensor(0.25), "whole": 3, "r2": 1.0')
    (folder / "regression.py").write_text(code, encoding="utf-8")
    values = np.random.default_rng(0).normal(size=(60, 3))
    pd.DataFrame(values, columns=["a", "b", "price"]).to_csv(folder / "prices.csv", index=False)
    train(load_config(folder / "regression.yaml", {"training.epochs": 1, "checkpoint.dir": str(tmp_path / "run")}))
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = json.loads(line)["metrics"]
    assert (found["np"], found["torch"], found["whole"]) == (0.5, 0.25, 3.0)


@pytest.mark.usefixtures("modules")
def test_a_part_named_in_words_is_looked_at_when_it_is_wanted() -> None:
    from trainer.run.run import task_for

    config = resolve_config({"task": "late_task:Mine", "data": {}})
    assert config.task == "late_task:Mine"
    assert "data.image_size" in known_keys("late_task:Mine")
    with pytest.raises(ConfigError, match="Task of late_task:Mine lacks open_rows"):
        task_for(config)


def test_a_name_without_a_colon_is_a_built_in_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown task 'regression'; the tasks are .* and package\.module:object"):
        task_of({"task": "regression"})


@pytest.mark.usefixtures("modules")
def test_where_a_task_says_nothing_the_criterion_redefines_the_loss_and_data_are_read_by_their_section() -> None:
    assert redefines_loss("late_task:Mine", "criterion.type")
    assert not redefines_loss("late_task:Mine", "training.batch_size")
    assert reads_data("late_task:Mine", "data.bad_samples")
    assert not reads_data("late_task:Mine", "training.batch_size")
