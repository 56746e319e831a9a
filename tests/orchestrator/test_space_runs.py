"""Search spaces and ladders by the real command: real trainings in real slots, on scenes small enough for seconds."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import Result
from optuna.trial import TrialState as OptunaState
from orchestrator_parts import LR, ROOT, TINY, orchestrator_command, python_process, tree
from typer.testing import CliRunner

from orchestrator.commands.cli import app
from orchestrator.policies.table import POLICIES
from orchestrator.samplers.table import SAMPLERS
from trainer.api import read_metrics, read_yaml
from trainer.checkpoints.files import load_checkpoint

TYPE, MOMENTUM, BATCH = "training.optimizer.type", "training.optimizer.momentum", "training.batch_size"
SPACE: dict[str, Any] = {
    TYPE: {"type": "categorical", "choices": ["adamw", "sgd"]},
    LR: {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
    MOMENTUM: {"type": "float", "low": 0.0, "high": 0.9, "when": {TYPE: "sgd"}},
    BATCH: {"type": "int", "low": 8, "high": 32, "step": 8},
}
POINTS: dict[str, Any] = {
    TYPE: {"type": "categorical", "choices": ["adamw", "sgd"]},
    MOMENTUM: {"type": "categorical", "choices": [0.5, 0.9], "when": {TYPE: "sgd"}},
}
OVERRIDES = {**TINY, "evaluation.max_length": 8, "evaluation.samples": 1, LR: 0.01}
LADDER = "1x12@24,2x24@32,3@32"
CLIMB: dict[str, Any] = {
    "overrides": OVERRIDES,
    "search_space": SPACE,
    "ladder": LADDER,
    "search": {"sampler": {"name": "tpe", "n_startup_trials": 4}, "reduction_factor": 2, "n_trials": 9},
}
OPEN_COLUMNS = ("seconds", "retries")  # may differ between two equal studies


def written(folder: Path, content: Mapping[str, Any], name: str = "climb") -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def call(folder: Path, name: str, *words: object) -> Result:
    """`python -m orchestrator NAME climb.json …` in this process, on the study in a folder."""
    place = ["--output-dir", str(folder / "outputs")]
    threads = ["--threads-per-slot", "1"] if name == "run" else []
    arguments = [name, str(folder / "climb.json"), *place, *threads, *(str(word) for word in words)]
    return CliRunner().invoke(app, arguments)


def done(folder: Path, *words: object) -> Result:
    result = call(folder, "run", *words)
    assert result.exit_code == 0, result.output
    return result


def study_of(folder: Path) -> Path:
    return folder / "outputs" / "climb"


def rows(folder: Path) -> list[dict[str, str]]:
    with (study_of(folder) / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def settled(folder: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in OPEN_COLUMNS} for row in rows(folder)]


def decisions(folder: Path) -> list[str]:
    """The driver's lines about states: without times, and what each epoch gave."""
    lines = [line[20:] for line in (study_of(folder) / "driver.log").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if re.match(r"trial \d+ (paused|goes on to|completed|pruned|failed|passes)", line)]


def lines_of(folder: Path, trial_id: int) -> list[tuple[int, int]]:
    """Epoch and rung of a trial's evaluations, as its metrics file has them."""
    return [
        (line["epoch"], line["rung"])
        for line in read_metrics(study_of(folder) / "trials" / f"{trial_id:04d}" / "metrics.jsonl")
    ]


@pytest.fixture(scope="session")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home of a study of nine trials on a ladder of three rungs. Tests only read it."""
    home = tmp_path_factory.mktemp("climb")
    written(home, CLIMB)
    done(home)
    return home


@pytest.fixture
def climbed_copy(climbed: Path, tmp_path: Path) -> Path:
    home = tmp_path / "copy"
    shutil.copytree(climbed, home)
    return home


# a ladder of three rungs


@pytest.mark.slow
def test_the_table_shows_each_trials_rung_and_the_epochs_are_what_the_ladder_allows(climbed: Path) -> None:
    table = rows(climbed)
    assert len(table) == 9
    for row in table:
        assert row["epochs"] == row["rung"], "one epoch more on each rung"
        assert row["status"] == ("completed" if row["rung"] == "3" else "paused")
        assert f"at rung {row['rung']} of 3 (" in row["reason"]
        assert bool(row[f"param_{MOMENTUM}"]) == (row[f"param_{TYPE}"] == "sgd"), "empty where inactive"
    reached = [sum(int(row["rung"]) >= rung for row in table) for rung in (1, 2, 3)]
    assert reached[0] == 9
    assert 9 // 2 <= reached[1] < 9
    assert reached[1] // 2 <= reached[2] < reached[1]
    assert sum(int(row["epochs"]) for row in table) == sum(reached) <= 9 * 3


def test_a_trial_is_paused_then_continued_without_training_an_epoch_twice(climbed: Path) -> None:
    said = decisions(climbed)
    for trial_id in range(1, 10):
        rung = int(rows(climbed)[trial_id - 1]["rung"])
        assert lines_of(climbed, trial_id) == [(n, n) for n in range(1, rung + 1)]
    back = [
        first
        for n, line in enumerate(said)
        if "paused" in line
        and any(other.startswith(f"{(first := line.split(' paused')[0])} goes on") for other in said[n:])
    ]
    assert back, "someone went on from its rest"
    log = (study_of(climbed) / "trials" / f"{int(back[0].split()[1]):04d}" / "log.txt").read_text(encoding="utf-8")
    assert "continues from" in log


def test_a_trial_trains_what_its_rung_says(climbed: Path) -> None:
    sizes = {1: (12, 24), 2: (24, 32), 3: (None, 32)}
    for row in rows(climbed):
        folder = study_of(climbed) / "trials" / f"{int(row['trial_id']):04d}"
        config = read_yaml(folder / "config.yaml")
        rung = int(row["rung"])
        assert (config["training"]["subset_size"], config["data"]["image_size"]) == sizes[rung]
        assert (config["training"]["epochs"], config["training"]["schedule_epochs"]) == (rung, 3)
        state = load_checkpoint(study_of(climbed) / row["checkpoint"])
        assert (state["progress"]["rung"], state["progress"]["epoch"]) == (rung, rung)
        steps = sum(-(-images * 5 // int(row[f"param_{BATCH}"])) for images in (12, 24, 48)[:rung])
        assert state["progress"]["step"] == steps, "five captions an image"


def test_optuna_shows_parameters_rungs_and_reasons(climbed: Path) -> None:
    study = optuna.load_study(study_name="climb", storage=f"sqlite:///{study_of(climbed) / 'study.db'}")
    for trial, row in zip(study.trials, rows(climbed), strict=True):
        assert trial.state == (OptunaState.COMPLETE if row["status"] == "completed" else OptunaState.WAITING)
        assert trial.user_attrs["reason"] == row["reason"]
        assert str(trial.user_attrs["rung"]) == row["rung"]
        assert (MOMENTUM in trial.params) == (trial.params[TYPE] == "sgd")
        assert trial.params[LR] == pytest.approx(float(row[f"param_{LR}"]))
        assert list(trial.intermediate_values) == list(range(1, int(row["rung"]) + 1))
        assert trial.intermediate_values[int(row["rung"])] == pytest.approx(float(row["final_bleu"]))


def test_the_report_and_best_yaml_stand(climbed: Path) -> None:
    assert "goes on to rung" in (study_of(climbed) / "driver.log").read_text(encoding="utf-8")
    report = (study_of(climbed) / "report.html").read_text(encoding="utf-8")
    assert "paused" in report
    best = read_yaml(study_of(climbed) / "best.yaml")
    top = [row for row in rows(climbed) if row["rung"] == "3"]
    winner = max(top, key=lambda row: (float(row["final_bleu"]), -int(row["trial_id"])))
    assert best["training"]["optimizer"]["lr"] == pytest.approx(float(winner[f"param_{LR}"]))
    assert (best["training"]["epochs"], best["training"]["subset_size"]) == (6, None)


# going on


@pytest.mark.slow
def test_three_calls_of_three_are_one_of_nine(climbed: Path, tmp_path: Path) -> None:
    written(tmp_path, CLIMB)
    for total in (3, 6, 9):
        done(tmp_path, "--n-trials", total)
        assert len(rows(tmp_path)) == total
    assert settled(tmp_path) == settled(climbed)
    assert decisions(tmp_path) == decisions(climbed)


def test_the_same_command_again_trains_nothing(climbed_copy: Path) -> None:
    before, said = rows(climbed_copy), decisions(climbed_copy)
    result = done(climbed_copy, "--n-trials", 4)  # of the study: fewer than it has
    assert " epoch " not in result.stderr
    assert (rows(climbed_copy), decisions(climbed_copy)) == (before, said)


@pytest.mark.parametrize(
    ("changes", "words", "said"),
    [
        ({LR: {**SPACE[LR], "high": 1.0}}, (), f"search_space.{LR}: "),
        ({"model.dropout": {"type": "float", "low": 0.0, "high": 0.5}}, (), "search_space.model.dropout: not sear"),
        ({}, ("--sampler", "random"), 'sampler: {"multivariate"'),
        ({}, ("--reduction-factor", "3"), 'pruner: {"name": "halving", "reduction_factor": 2} in the study'),
        ({}, ("--ladder", "1x12@24,3@32"), "budget: 1 epoch, 12 images @24 → 2 epochs, 24 images @32 → 3 e"),
        ({}, ("--seed", "5"), "seed: 42 in the study, 5 now"),
    ],
)  # fmt: skip
def test_what_would_make_results_incomparable_is_refused_with_the_difference(
    climbed_copy: Path, changes: dict[str, Any], words: tuple[str, ...], said: str
) -> None:
    written(climbed_copy, {**CLIMB, "search_space": {**SPACE, **changes}})
    before = tree(study_of(climbed_copy))
    for name in ("plan", "run"):
        result = call(climbed_copy, name, *words)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
        assert "in the study, " in result.stderr
    after = tree(study_of(climbed_copy))
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} <= {
        path for path in before.keys() | after.keys() if "study.db" in path or path.endswith("lock")
    }


def test_close_ends_what_rests(climbed_copy: Path) -> None:
    result = CliRunner().invoke(app, ["close", str(study_of(climbed_copy))])
    assert result.exit_code == 0, result.output
    assert {row["status"] for row in rows(climbed_copy)} == {"completed", "pruned"}
    assert "the study is closed: it starts no more trials" in done(climbed_copy, "--n-trials", 12).stderr
    assert len(rows(climbed_copy)) == 9


# duplicates, an exhausted space, limits


def test_an_exhausted_grid_ends_well_and_equal_configurations_are_trained_once(tmp_path: Path) -> None:
    """Three points; the one in the list is one of them, and sgd's momentum is not adamw's."""
    listed = {TYPE: "sgd", MOMENTUM: 0.9}
    search = {"sampler": "grid", "pruner": "hyperband", "n_trials": 9}
    sections = {"trials": [listed], "search_space": POINTS, "budget": {"epochs": 1, "subset": 12}, "search": search}
    written(tmp_path, {"overrides": OVERRIDES, **sections})
    result = done(tmp_path)
    table = rows(tmp_path)
    points = [(row[f"param_{TYPE}"], row[f"param_{MOMENTUM}"]) for row in table]
    assert points[0] == ("sgd", "0.9")
    assert sorted(points[1:]) == [("adamw", ""), ("sgd", "0.5"), ("sgd", "0.9")]
    copy = table[points.index(("sgd", "0.9"), 1)]
    assert (copy["duplicate_of"], copy["epochs"], copy["seconds"]) == ("1", "0", "0.0")
    assert (copy["status"], copy["final_bleu"]) == (table[0]["status"], table[0]["final_bleu"])
    assert copy["reason"] == f"trial {copy['trial_id']} completed: the same configuration as trial 1"
    assert "the search space is exhausted: no configuration is left to propose" in result.stderr
    trained = sorted(path.name for path in (study_of(tmp_path) / "trials").iterdir())
    assert len(trained) == 3
    assert f"{int(copy['trial_id']):04d}" not in trained
    again = done(tmp_path)
    assert rows(tmp_path) == table
    assert " epoch " not in again.stderr


def test_checkpoints_beyond_the_limit_go_least_likely_first_and_the_best_never(tmp_path: Path) -> None:
    written(tmp_path, {**CLIMB, "ladder": "1x12@24,2x12@24", "search": {"sampler": "gp", "reduction_factor": 2}})
    result = done(tmp_path, "--n-trials", 4, "--max-checkpoint-gb", 0.00001)
    assert "(--max-checkpoint-gb)" in result.stderr
    table = rows(tmp_path)
    top = max(
        (row for row in table if row["rung"] == "2"), key=lambda row: (float(row["final_bleu"]), -int(row["trial_id"]))
    )
    kept = [row["trial_id"] for row in table if row["checkpoint"]]
    assert kept == [top["trial_id"]]
    files = {path.parts[-3] for path in study_of(tmp_path).glob("trials/*/checkpoints/*.pth")}
    assert files == {f"{int(top['trial_id']):04d}"}
    gone = [row for row in table if row["status"] == "pruned"]
    assert gone
    assert all("its checkpoint had to make room" in row["reason"] for row in gone)


# the price


def test_plan_prices_a_ladder_and_makes_nothing(tmp_path: Path) -> None:
    written(tmp_path, CLIMB)
    before = tree(tmp_path)
    result = call(tmp_path, "plan", "--json", "--n-trials", 20)
    assert result.exit_code == 0
    price = json.loads(result.stdout)["price"]
    assert (price["trials"], price["duplicates"]) == (20, 0)
    assert [rung["epochs_each"] for rung in price["rungs"]] == [1, 1, 1]
    assert [rung["images_each"] for rung in price["rungs"]] == [12, 24, 48]
    assert [rung["budget"] for rung in price["rungs"]] == [
        "1 epoch, 12 images @24", "2 epochs, 24 images @32", "3 epochs, all images @32",
    ]  # fmt: skip
    usual = [rung["trials"]["usual"] for rung in price["rungs"]]
    assert usual[0] == 20 > usual[1] >= 10 > usual[2] >= 5
    assert [rung["trials"]["most"] for rung in price["rungs"]] == [20, 20, 20]
    assert price["epochs"] == {"usual": pytest.approx(sum(usual), abs=0.2), "most": 60}
    assert price["images"]["usual"] == pytest.approx(20 * 12 + usual[1] * 24 + usual[2] * 48, rel=0.02)
    words = call(tmp_path, "plan").stdout
    assert "9 trials: about " in words
    assert "rung 3 (3 epochs, all images @32): about " in words
    assert tree(tmp_path) == before


def test_plan_measures_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGWISE_CACHE", str(tmp_path / "cache"))
    written(tmp_path, {**CLIMB, "ladder": "1x12@24,2x24@32"})
    assert json.loads(call(tmp_path, "plan", "--json").stdout)["price"]["hours"] is None
    assert "no timing yet" in call(tmp_path, "plan").stdout
    result = call(tmp_path, "plan", "--measure", "--json", "--workers", 2)
    assert result.exit_code == 0, result.output
    price = json.loads(result.stdout)["price"]
    low, high = price["slot_hours"]
    assert 0 < low <= high < 1
    assert price["hours"] == [low / 2, high / 2]
    assert all(0 < rung["seconds_per_epoch"][0] <= rung["seconds_per_epoch"][1] for rung in price["rungs"])
    known = json.loads(call(tmp_path, "plan", "--json", "--workers", 2).stdout)["price"]
    assert known["slot_hours"] == [low, high], "remembered for the next plan"
    assert not (tmp_path / "outputs").exists()


def test_a_study_prices_itself_from_its_own_epochs(climbed: Path) -> None:
    price = json.loads(call(climbed, "plan", "--json").stdout)["price"]
    seconds = [
        line["seconds"]
        for path in sorted((study_of(climbed) / "trials").glob("*/metrics.jsonl"))
        for line in read_metrics(path)
        if line["rung"] == 1
    ]
    low, high = price["rungs"][0]["seconds_per_epoch"]
    assert min(seconds) <= low <= high <= max(seconds)
    assert price["hours"]


def test_plan_of_a_space_imports_no_torch(tmp_path: Path) -> None:
    written(tmp_path, CLIMB)
    watched = "import sys; sys.argv = ['x', 'plan', 'climb.json']\nfrom orchestrator.commands.cli import app\n"
    end = "app(standalone_mode=False)\nprint('heavy:', {'torch', 'torchvision'} & set(sys.modules))"
    said = python_process(tmp_path, "-c", watched + end)
    assert said.stdout.splitlines()[-1] == "heavy: set()", said.stderr


# every sampler and every pruner, by the command line

PAIRS = [
    ("random", "none"), ("tpe", "median"), ("gp", "halving"), ("qmc", "percentile"), ("grid", "threshold"),
    ("random", "patient"), ("tpe", "successive_halving"), ("qmc", "hyperband"), ("grid", "halving"),
]  # fmt: skip
PAIRS += [("random", name) for name in POLICIES if name not in {pruner for _, pruner in PAIRS}]
PAIRS += [(name, "none") for name in SAMPLERS if name not in {sampler for sampler, _ in PAIRS}]


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "pruner"), PAIRS)
def test_a_space_with_conditions(tmp_path: Path, sampler: str, pruner: str) -> None:
    """Five trials by flags alone; every decision has its reason."""
    written(tmp_path, {"overrides": OVERRIDES, "search_space": POINTS if sampler == "grid" else SPACE})
    words = ["--budget-subset", 12, "--budget-epochs", 3 if pruner in ("halving", "patient") else 2]
    bound = ["--early-stop-threshold", 0.0] if pruner == "threshold" else []
    result = done(tmp_path, "--sampler", sampler, "--pruner", pruner, "--n-trials", 5, *words, *bound)
    table = rows(tmp_path)
    assert len(table) == (3 if sampler == "grid" else 5)
    assert {row["status"] for row in table} <= {"completed", "pruned", "paused"}
    assert all(bool(row[f"param_{MOMENTUM}"]) == (row[f"param_{TYPE}"] == "sgd") for row in table)
    assert all(row["reason"].startswith(f"trial {row['trial_id']} {row['status']} at ") for row in table)
    assert f"best trial {best_of(table)}: BLEU" in result.stderr
    plan = read_yaml(study_of(tmp_path) / "plan.yaml")
    assert (plan["sampler"]["name"], plan["pruner"]["name"]) == (sampler, pruner)
    again = done(tmp_path, "--sampler", sampler, "--pruner", pruner, "--n-trials", 5, *words, *bound)
    assert rows(tmp_path) == table
    assert " epoch " not in again.stderr


def best_of(table: list[dict[str, str]]) -> str:
    """By the highest rung, then the value, then the number; what a pruner ended before its rung does not count."""
    able = [row for row in table if " at rung " in row["reason"]]
    return max(able, key=lambda row: (int(row["rung"]), float(row["final_bleu"]), -int(row["trial_id"])))["trial_id"]


# a kill in the middle of it


CLIMB_WORDS = ("run", "climb.json", "--threads-per-slot", "1")


def start(home: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *CLIMB_WORDS],
        cwd=home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def epochs_recorded(home: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in study_of(home).glob("trials/*/metrics.jsonl"))


@pytest.mark.slow
def test_a_driver_killed_in_the_middle_of_a_ladder(climbed: Path, tmp_path: Path) -> None:
    """Killed after the second and the ninth epoch; the same command then ends as undisturbed."""
    written(tmp_path, CLIMB)
    for epochs in (2, 9):
        driver = start(tmp_path)
        deadline = time.monotonic() + 120
        while epochs_recorded(tmp_path) < epochs and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert orchestrator_command(tmp_path, *CLIMB_WORDS).returncode == 0
    assert settled(tmp_path) == settled(climbed)
    for row in rows(tmp_path):
        assert lines_of(tmp_path, int(row["trial_id"])) == [(n, n) for n in range(1, int(row["rung"]) + 1)]
