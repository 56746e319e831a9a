"""The commands on one real study: a tiny captioner searched, pruned and promoted by the real command."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import optuna
import pytest
from orchestrator_parts import LR, Command, python_process, tree, write_trials

from reports.record import STATUSES
from trainer.api import dump_yaml, load_config, read_metrics, read_yaml, resolve_config, train

COLUMNS = [
    "trial_id", "status", "final_bleu", "final_loss", f"param_{LR}", "best_bleu", "epochs", "rung", "seconds",
    "reason", "duplicate_of", "retries", "checkpoint",
]  # fmt: skip
PROMOTED = ["full_bleu_mean", "full_bleu_std", "seeds"]  # where a trial came to its end in full training
BUDGET = "3 epochs, 30 images @32"


def rows(folder: Path, name: str = "trials.csv") -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def said(folder: Path) -> list[str]:
    """What the driver said: its log without the times."""
    return [line[20:] for line in (folder / "driver.log").read_text(encoding="utf-8").splitlines()]


# plan, and what may be imported


def test_plan_says_what_it_will_cost_and_creates_nothing(command: Command, tmp_path: Path) -> None:
    write_trials(tmp_path / "tiny.json", [{LR: 0.1}, {LR: 0.2}, {LR: 0.1}], promote=1)
    before = tree(tmp_path)
    result = command("plan", "tiny.json", "--budget-epochs", "5")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"study tiny in {tmp_path}/outputs/tiny, metric BLEU, pruner median"
    assert "2 trials × 5 epochs = 10 epochs at most (5 epochs, 30 images @32)" in lines
    assert "then 1 promoted run × 6 epochs (6 epochs, all images @32)" in lines
    assert tree(tmp_path) == before
    assert list(tmp_path.iterdir()) == [tmp_path / "tiny.json"]


@pytest.mark.parametrize(
    "words",
    [
        ("--trials-file", "tiny.json", "--budget_epochs", "2", "training.batch_size=9"),
        ("training.batch_size=9", "--budget-epochs=2", "--trials_file=tiny.json"),
    ],
)
def test_options_by_the_names_of_other_programs(command: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    write_trials(tmp_path / "tiny.json", [{LR: 0.1}])
    found = command("plan", *words)
    assert found.stdout == command("plan", "tiny.json", "--budget-epochs", "2", "training.batch_size=9").stdout
    assert found.exit_code == 0, found.stderr


def test_plan_as_json(command: Command, tmp_path: Path) -> None:
    write_trials(tmp_path / "tiny.json", [{LR: 0.1}])
    found = json.loads(command("plan", "tiny.json", "--json").stdout)
    assert found["rungs"] == [{"epochs": 3, "subset": 30, "size": 32, "val_subset": 200}]
    assert found["trials"] == [{LR: 0.1}]
    assert found["shapes"] == {LR: {"type": "float", "low": 1e-8, "high": 10.0, "log": True}}


@pytest.mark.parametrize(
    "words",
    [
        ("-c", "import orchestrator.commands.cli"),
        ("-c", "import sys; sys.argv = ['x', 'plan', 'tiny.json']; from orchestrator.commands.cli import main; main()"),
    ],
    ids=["import", "plan"],
)  # fmt: skip
def test_no_torch_before_it_is_needed(tmp_path: Path, words: tuple[str, str]) -> None:
    write_trials(tmp_path / "tiny.json", [{LR: 0.1}])
    watched = (
        "import sys, atexit; atexit.register(lambda: print('heavy:', {'torch', 'torchvision'} & set(sys.modules)))\n"
    )
    done = python_process(tmp_path, words[0], watched + words[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: set()"
    assert not (tmp_path / "outputs").exists()


def test_help_names_every_command_and_flag(command: Command) -> None:
    words = re.sub(r"\s+", " ", command("--help").stdout)
    for name in ("run", "plan", "status", "report", "dashboard", "promote", "retry", "close"):
        assert f" {name} " in words
    for name in ("run", "plan"):
        shown = command(name, "--help").stdout
        for flag in (
            "--base-config", "--study", "--output-dir", "--seed", "--budget-epochs", "--budget-subset", "--budget-size",
            "--budget-val-subset", "--n-trials", "--pruner", "--early-stop-threshold", "--timeout", "--max-gpu-hours",
            "--max-failures", "--max-checkpoint-gb", "--workers", "--threads-per-slot", "--storage", "--promote",
        ):  # fmt: skip
            assert flag[:18] in shown, flag


# the table


def test_the_columns_are_the_contracts(finished: Path) -> None:
    assert list(rows(finished)[0]) == [*COLUMNS, *PROMOTED]


@pytest.mark.core
def test_statuses_and_order(finished: Path) -> None:
    table = rows(finished)
    assert [row["trial_id"] for row in table] == ["1", "2", "3", "4", "5", "6"]
    assert {row["status"] for row in table} <= set(STATUSES)
    assert [row["status"] for row in table][:2] == ["completed", "completed"]
    assert table[5]["status"] == table[1]["status"]
    assert [float(row[f"param_{LR}"]) for row in table] == [0.01, 0.003, 1e-5, 0.02, 0.005, 0.003]


def test_numbers_are_those_of_the_last_evaluation(finished: Path) -> None:
    for row in rows(finished)[:5]:
        lines = read_metrics(finished / "trials" / f"{int(row['trial_id']):04d}" / "metrics.jsonl")
        assert [line["epoch"] for line in lines] == list(range(1, int(row["epochs"]) + 1))
        assert float(row["final_bleu"]) == lines[-1]["metrics"]["bleu"]
        assert float(row["final_loss"]) == lines[-1]["metrics"]["val_loss"]
        assert float(row["best_bleu"]) == max(line["metrics"]["bleu"] for line in lines)
        assert float(row["seconds"]) == pytest.approx(sum(line["seconds"] for line in lines), abs=0.01)
        assert (row["rung"], row["retries"], row["duplicate_of"]) == ("1", "0", "")
        assert (finished / row["checkpoint"]).is_file()


def test_completed_trials_trained_the_whole_budget_and_pruned_ones_less(finished: Path) -> None:
    for row in rows(finished)[:5]:
        number, epochs = row["trial_id"], int(row["epochs"])
        if row["status"] == "completed":
            assert epochs == 3
            assert row["reason"].startswith(f"trial {number} completed at rung 1 of 1 ({BUDGET}): BLEU ")
        else:
            assert row["status"] == "pruned"
            assert epochs < 3
            pattern = rf"trial {number} pruned at epoch {epochs} of 3: BLEU \S+ is \d\w\w of \d, the median is \S+"
            assert re.fullmatch(pattern, row["reason"])


def test_a_duplicate_takes_the_earlier_result(finished: Path) -> None:
    table = rows(finished)
    copy, original = table[5], table[1]
    assert (copy["duplicate_of"], copy["epochs"], copy["seconds"]) == ("2", "0", "0.0")
    for column in ("status", "final_bleu", "final_loss", "best_bleu", "checkpoint"):
        assert copy[column] == original[column]
    assert copy["reason"] == f"trial 6 {original['status']}: the same configuration as trial 2"
    assert not (finished / "trials" / "0006").exists()


def test_the_table_stands_once_more_under_the_time_of_the_run(finished: Path) -> None:
    stamped = [path.name for path in finished.glob("trials_*.csv")]
    assert len(stamped) == 1
    assert re.fullmatch(r"trials_\d{8}-\d{6}\.csv", stamped[0])
    assert rows(finished, stamped[0]) == rows(finished)


# the folder


def test_the_folders_layout(finished: Path) -> None:
    found = {path.name for path in finished.iterdir()}
    assert {
        "plan.yaml", "environment.json", "study.db", "driver.log", "trials.csv", "metrics.csv", "report.html",
        "best.yaml", "trials", "full",
    } <= found  # fmt: skip
    runs = [*sorted((finished / "trials").iterdir()), *(finished / "full").iterdir()]
    assert [run.name for run in runs][:5] == ["0001", "0002", "0003", "0004", "0005"]
    assert re.fullmatch(r"000\d-seed0", runs[5].name)
    assert len(runs) == 6
    for run in runs:
        there = {path.name for path in run.iterdir()}
        assert there == {"config.yaml", "overrides.json", "metrics.jsonl", "log.txt", "checkpoints", "samples"}
        assert {"last.pth", "best.pth"} <= {path.name for path in (run / "checkpoints").iterdir()}
        config = load_config(run / "config.yaml")
        assert (config.checkpoint.dir, config.logging_dir) == (run / "checkpoints", run)
    assert json.loads((finished / "trials" / "0005" / "overrides.json").read_text()) == {LR: 0.005}


def test_metrics_have_the_contracts_shape(finished: Path) -> None:
    for path in [*finished.glob("trials/*/metrics.jsonl"), *finished.glob("full/*/metrics.jsonl")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            assert list(found) == ["epoch", "step", "rung", "seconds", "metrics"]
            assert {"train_loss", "val_loss", "bleu"} <= set(found["metrics"])


def test_the_plan_is_frozen_and_the_environment_written(finished: Path) -> None:
    plan = read_yaml(finished / "plan.yaml")
    assert plan["rungs"] == [{"epochs": 3, "subset": 30, "size": 32, "val_subset": 200}]
    assert plan["pruner"] == {"name": "median", "n_startup_trials": 2, "n_warmup_steps": 0}
    environment = json.loads((finished / "environment.json").read_text())
    assert {"python", "torch", "optuna", "platform", "data fingerprint", "git commit", "command"} <= set(environment)
    assert environment["command"] == "python -m orchestrator run tiny.json --threads-per-slot 1"


def test_every_reason_is_a_line_of_the_log_and_of_the_terminal(finished: Path) -> None:
    lines = said(finished)
    shown = (finished.parents[1] / "stderr.txt").read_text(encoding="utf-8").splitlines()
    for row in rows(finished):
        assert lines.count(row["reason"]) == 1
        assert shown.count(row["reason"]) == 1
    assert shown[-1] == f"train it anywhere: python -m trainer --config {finished / 'best.yaml'}"
    assert any(line.startswith("trial 1 epoch 1/3: BLEU ") for line in shown)
    assert any(line.startswith("6 of 6 trials: ") for line in shown)


def test_the_promoted_run_is_the_best_trial_at_full_budget(finished: Path) -> None:
    table = rows(finished)[:5]
    best = max((row for row in table if row["status"] == "completed"), key=lambda row: float(row["final_bleu"]))
    run = finished / "full" / f"{int(best['trial_id']):04d}-seed0"
    config = load_config(run / "config.yaml")
    assert (config.training.epochs, config.training.subset_size, config.data.val_subset_size) == (4, None, None)
    assert (config.evaluation.beam_size, config.training.schedule_epochs) == (3, None)
    assert config.training.optimizer.lr == float(best[f"param_{LR}"])
    assert [line["epoch"] for line in read_metrics(run / "metrics.jsonl")] == [1, 2, 3, 4]


def test_best_yaml_trains_as_it_is(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (finished / "best.yaml").read_text(encoding="utf-8")
    what = r"# trial \d of study tiny: BLEU \S+ \(1 seed\).*; in full training \(4 epochs, all images @32\)\n"
    assert re.match(what, text)
    assert str(finished) not in text
    monkeypatch.chdir(tmp_path)
    config = load_config(finished / "best.yaml", {"training.max_iter": 1})
    assert config.checkpoint.dir == tmp_path / "checkpoints"
    outcome = train(config)
    assert (outcome.step, outcome.ending) == (1, "finished")
    assert (tmp_path / "checkpoints" / "last.pth").is_file()
    full = next((finished / "full").iterdir()).name
    same = load_config(finished / "full" / full / "config.yaml").plain()
    for section in ("data", "model", "training", "evaluation", "seed"):
        found = resolve_config(read_yaml(finished / "best.yaml"), {"data.split_seed": 42}).plain()
        assert found[section] == same[section]


@pytest.mark.core
def test_optuna_sees_it_all(finished: Path) -> None:
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{finished / 'study.db'}")
    assert [trial.user_attrs["trial_id"] for trial in study.trials] == [1, 2, 3, 4, 5, 6]
    for trial, row in zip(study.trials, rows(finished), strict=True):
        assert trial.params == {LR: float(row[f"param_{LR}"])}
        assert trial.value == float(row["final_bleu"])
        assert sorted(trial.intermediate_values) == list(range(1, int(row["epochs"]) + 1))
        assert trial.user_attrs["reason"] == row["reason"]
    full = optuna.load_study(study_name="tiny/full", storage=f"sqlite:///{finished / 'study.db'}")
    assert [trial.state.name for trial in full.trials] == ["COMPLETE"]
    assert sorted(full.trials[0].intermediate_values) == [1, 2, 3, 4]


# other commands on it


def lasting(folder: Path) -> dict[str, bytes]:
    """What a run that has nothing to do must leave as it is."""
    found = tree(folder)
    moving = ("environment.json", "driver.lock", "driver.log", "report.html", "slots.log", "study.db", "trials_")
    return {name: content for name, content in found.items() if not name.startswith(moving)}


def facts(folder: Path) -> list[Any]:
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder / 'study.db'}")
    return [(t.state, t.params, t.intermediate_values, t.user_attrs, t.datetime_complete) for t in study.trials]


def test_plan_on_a_study_says_what_is_left_and_changes_nothing(command: Command, finished_copy: Path) -> None:
    home = finished_copy.parents[1]
    before, known, log = lasting(finished_copy), facts(finished_copy), said(finished_copy)
    result = command("plan", home / "tiny.json", "--output-dir", home / "outputs")
    assert result.exit_code == 0, result.output
    assert "\nnothing is left to do\n" in result.stdout
    refused = command("plan", home / "tiny.json", "--output-dir", home / "outputs", "--seed", "5")
    assert refused.exit_code == 2
    assert "seed: 42 in the study, 5 now" in refused.stderr
    assert (lasting(finished_copy), facts(finished_copy), said(finished_copy)) == (before, known, log)


def test_the_same_command_again_changes_nothing(command: Command, finished_copy: Path) -> None:
    known, home = facts(finished_copy), finished_copy.parents[1]
    for call in (1, 2):
        before = lasting(finished_copy) if call == 2 else {}  # the first call here writes the paths of this copy
        result = command("run", home / "tiny.json", "--output-dir", home / "outputs", "--threads-per-slot", "1")
        assert result.exit_code == 0, result.output
        assert call == 1 or lasting(finished_copy) == before
        assert facts(finished_copy) == known
    assert not any(" epoch " in line for line in result.stderr.splitlines())


def test_trials_added_at_the_front_are_trained_and_the_others_stay(command: Command, finished_copy: Path) -> None:
    home = finished_copy.parents[1]
    before = rows(finished_copy)
    content = json.loads((home / "tiny.json").read_text())
    content["trials"].insert(0, {LR: 0.007, "training.batch_size": 16})
    (home / "tiny.json").write_text(json.dumps(content))
    words = ("--output-dir", home / "outputs", "--threads-per-slot", "1", "--promote", "0", "--pruner", "none")
    refused = command("run", home / "tiny.json", *words)
    assert refused.exit_code == 2
    result = command("run", home / "tiny.json", *words[:-2])
    assert result.exit_code == 0, result.output
    after = rows(finished_copy)
    assert list(after[0]) == [*COLUMNS[:5], "param_training.batch_size", *COLUMNS[5:], *PROMOTED]
    for old, new in zip(before, after[:6], strict=True):
        assert {**old, "param_training.batch_size": "32"} == new
    assert (after[6]["trial_id"], after[6]["param_training.batch_size"], len(after)) == ("7", "16", 7)
    assert int(after[6]["epochs"]) >= 1
    assert "1 trial added to the study" in result.stderr


def test_status(command: Command, finished: Path) -> None:
    before = lasting(finished)
    result = command("status", finished)
    assert result.exit_code == 0
    words = re.sub(r"\s+", " ", result.stdout)
    assert "6 of 6 trials: " in words
    assert "in full, seed 0: completed, epoch 4 of 4, BLEU " in words
    for row in rows(finished):
        assert f" {row['trial_id']} {row['status']} " in words
    assert lasting(finished) == before


@pytest.mark.core
def test_report_is_rebuilt_from_the_study_alone(command: Command, finished_copy: Path) -> None:
    before = rows(finished_copy)
    for name in ("trials.csv", "metrics.csv", "report.html"):
        (finished_copy / name).unlink()
    result = command("report", finished_copy)
    assert result.exit_code == 0
    assert result.stdout.strip() == str(finished_copy / "report.html")
    assert [{**row, "checkpoint": ""} for row in rows(finished_copy)] == [{**row, "checkpoint": ""} for row in before]
    points = rows(finished_copy, "metrics.csv")
    assert sum(int(row["epochs"]) for row in before) == sum(not point["run"] for point in points)
    assert {point["slot"] for point in points} == {"slot 1"}
    html = (finished_copy / "report.html").read_text(encoding="utf-8")
    assert html.lstrip().lower().startswith("<!doctype html>")
    assert all(f"trial {number} " in html for number in (1, 2))


def test_promoting_more_trains_only_what_is_new(command: Command, finished_copy: Path) -> None:
    first = next((finished_copy / "full").iterdir())
    before = tree(first)
    result = command("promote", finished_copy, "--top", "2")
    assert result.exit_code == 0, result.output
    runs = sorted(path.name for path in (finished_copy / "full").iterdir())
    assert len(runs) == 2
    assert tree(first) == before
    new = next(path for path in (finished_copy / "full").iterdir() if path != first)
    assert [line["epoch"] for line in read_metrics(new / "metrics.jsonl")] == [1, 2, 3, 4]
    assert said(finished_copy)[-1].startswith("best in full training: trial ")


@pytest.mark.slow
def test_promoting_from_the_checkpoint_is_said_everywhere(command: Command, finished_copy: Path) -> None:
    (cold,) = (finished_copy / "full").iterdir()
    before, best = tree(cold), (finished_copy / "best.yaml").read_bytes()
    result = command("promote", finished_copy, "--top", "1", "--seeds", "2", "--from", "checkpoint")
    assert result.exit_code == 0, result.output
    assert "1 promoted run from scratch is left out" in result.stderr
    warm = [cold.with_name(cold.name.replace("seed0", f"seed{seed}-continued")) for seed in (0, 1)]
    assert sorted((finished_copy / "full").iterdir()) == [cold, *warm]
    assert all("starts from the weights of" in (one / "log.txt").read_text(encoding="utf-8") for one in warm)
    winner = next(row for row in rows(finished_copy) if row["seeds"])
    assert (winner["seeds"], bool(winner["full_bleu_std"])) == ("2", True)
    text = (finished_copy / "report.html").read_text(encoding="utf-8")
    assert "started from the weights of the search, not from scratch" in text
    assert "The standard deviation between seeds of one configuration is" in text
    assert "this file starts from scratch" in (finished_copy / "best.yaml").read_text(encoding="utf-8")
    runs = [tree(one) for one in warm]
    result = command("promote", finished_copy, "--top", "1")
    assert result.exit_code == 0, result.output
    assert "2 promoted runs from the search's checkpoints are left out" in result.stderr
    assert [tree(cold), *(tree(one) for one in warm)] == [before, *runs]
    assert (finished_copy / "best.yaml").read_bytes() == best
    assert [row["seeds"] for row in rows(finished_copy) if row["seeds"]] == ["1"]


def test_a_start_that_is_refused_does_not_become_the_studys(command: Command, finished_copy: Path) -> None:
    for checkpoints in (finished_copy / "trials").glob("*/checkpoints"):
        checkpoints.rename(checkpoints.with_name("elsewhere"))
    before = tree(finished_copy)
    result = command("promote", finished_copy, "--from", "checkpoint")
    assert result.exit_code == 2
    assert "its checkpoint is gone; use promote --from scratch" in result.output
    assert tree(finished_copy) == before


def test_report_writes_every_table_again(command: Command, finished_copy: Path) -> None:
    tables = ("trials.csv", "metrics.csv", "agreement.csv")
    before = {name: (finished_copy / name).read_bytes() for name in tables}
    for name in tables:
        (finished_copy / name).unlink()
    assert command("report", finished_copy).exit_code == 0
    assert {name: (finished_copy / name).read_bytes() for name in tables} == before


def test_other_data_than_the_searchs_is_refused(command: Command, finished_copy: Path) -> None:
    plan = finished_copy / "plan.yaml"
    found = read_yaml(plan)["data_fingerprint"]
    plan.write_text(plan.read_text(encoding="utf-8").replace(found, "another"), encoding="utf-8")
    before = tree(finished_copy)
    result = command("promote", finished_copy, "--top", "2")
    assert result.exit_code == 2
    assert "the data changed since the search (another then" in result.output
    assert tree(finished_copy) == before


def test_that_a_run_was_promoted_stands_in_the_study_not_in_its_folder(command: Command, finished_copy: Path) -> None:
    (finished_copy / "full").rename(finished_copy / "kept")
    result = command("promote", finished_copy, "--top", "1")
    assert result.exit_code == 0
    assert not (finished_copy / "full").exists()


def test_close_ends_a_study(command: Command, finished_copy: Path) -> None:
    result = command("close", finished_copy)
    assert result.exit_code == 0
    assert "closed: 6 of 6 trials" in result.stderr
    assert read_yaml(finished_copy / "plan.yaml")["closed"] is True
    home = finished_copy.parents[1]
    content = json.loads((home / "tiny.json").read_text())
    content["trials"].append({LR: 0.009})
    (home / "tiny.json").write_text(json.dumps(content))
    words = ("--output-dir", home / "outputs", "--promote", "0")
    again = command("run", home / "tiny.json", *words)
    assert again.exit_code == 0
    assert "the study is closed: it starts no more trials" in again.stderr
    assert len(rows(finished_copy)) == 6


def test_retry_with_nothing_failed(command: Command, finished_copy: Path) -> None:
    before = facts(finished_copy)
    result = command("retry", finished_copy, "--failed")
    assert result.exit_code == 0, result.output
    assert "nothing has failed, so there is nothing to retry" in result.stderr
    assert facts(finished_copy) == before


@pytest.mark.slow
def test_a_failed_promoted_run_is_said_and_tried_again(command: Command, finished_copy: Path) -> None:
    content = {**read_yaml(finished_copy / "plan.yaml"), "promote": {"top": 0, "seeds": 1}}
    (finished_copy / "plan.yaml").write_text(dump_yaml(content), encoding="utf-8")
    weights = next((finished_copy / "full").iterdir()).name.removesuffix("-seed0")
    checkpoint = finished_copy / "trials" / weights / "checkpoints" / "last.pth"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(b"damaged")
    words = ("promote", finished_copy, "--top", "1", "--seeds", "2", "--from", "checkpoint")
    command(*words)
    status = re.sub(r"\s+", " ", command("status", finished_copy).stdout)
    name = f"trial {int(weights)} in full from its checkpoint, seed 1"
    assert re.search(rf"{name}: failed, epoch 0 of 4, no evaluation yet; failed \(\w+\): .*last\.pth", status)
    again = re.sub(r"\s+", " ", command(*words).stderr)
    assert re.search(rf"{name}, failed .* retry it with python -m orchestrator retry \S+ --failed", again)
    checkpoint.write_bytes(whole)
    retried = command("retry", finished_copy, "--failed")
    assert retried.exit_code == 0, retried.output
    assert "2 failed promoted runs tried again" in retried.stderr
    status = command("status", finished_copy).stdout
    assert f"{name}: completed, epoch 4 of 4, BLEU " in status
    assert status.count(name) == 1
    assert "2 seeds" in (finished_copy / "best.yaml").read_text(encoding="utf-8")
    assert "nothing has failed" in command("retry", finished_copy, "--failed").stderr


# exit statuses of other endings


def test_a_limit_that_is_spent_starts_nothing(command: Command, tmp_path: Path) -> None:
    write_trials(tmp_path / "tiny.json", [{LR: 0.1}])
    result = command("run", "tiny.json", "--max-gpu-hours", "0")
    assert result.exit_code == 0, result.output
    assert "limit reached: 0 slot-hours" in result.stderr
    assert rows(tmp_path / "outputs" / "tiny") == []


def test_when_every_trial_fails_the_status_is_3_and_retry_tries_again(command: Command, tmp_path: Path) -> None:
    exploding = {LR: 1e30, "training.optimizer.type": "sgd", "training.grad_clip": 0.0}
    write_trials(tmp_path / "tiny.json", [exploding], promote=1)
    result = command("run", "tiny.json")
    assert result.exit_code == 3, result.output
    assert "1 trial failed (nan): " in result.stderr
    folder = tmp_path / "outputs" / "tiny"
    assert [(row["status"], row["final_bleu"], row["retries"]) for row in rows(folder)] == [("failed", "", "0")]
    assert not (folder / "full").exists()
    assert not (folder / "best.yaml").exists()
    again = command("run", "tiny.json")
    assert again.exit_code == 3
    retried = command("retry", folder, "--failed")
    assert retried.exit_code == 3
    assert "1 failed trial tried again" in retried.stderr
    assert [(row["status"], row["retries"]) for row in rows(folder)] == [("failed", "0"), ("failed", "1")]
