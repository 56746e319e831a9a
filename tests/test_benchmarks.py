"""The search benchmark: what it writes, that it repeats itself, that no epoch is spent twice or for free. And that
those which time something still run; what they find is no test."""

from __future__ import annotations

import csv
import json
import random
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from in_process import script

ROOT = Path(__file__).resolve().parents[1]
LCBENCH, TASKSET = (ROOT.parent / "shared" / "data" / name for name in ("lcbench", "taskset"))
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts that import each other, as they are run

import compare  # noqa: E402
import search_efficiency  # noqa: E402
from curves import Problem, open_problems  # noqa: E402
from peers import PEERS, Progress, Training, random_configurations  # noqa: E402

FULL = 9
METHODS = "halving,tpe_hyperband,tpe,random"


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """Two made-up tasks of nine epochs in TaskSet's format, with diverged rows."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name in ("alpha", "beta"):
        numbers = random.Random(name)
        (folder / f"{name}.json").write_text(json.dumps([record(numbers) for _ in range(60)]))
    return folder


def record(numbers: random.Random) -> dict[str, object]:
    log = {"epsilon": (-10, 3), "l1": (-8, 1), "l2": (-8, 1), "learning_rate": (-8, 1)}
    log |= {"linear_decay": (-7, -4), "exponential_decay": (-6, -3)}
    hp = {key: 10 ** numbers.uniform(low, high) for key, (low, high) in log.items()}
    hp |= {"beta1": 1 - 10 ** numbers.uniform(-4, 0), "beta2": 1 - 10 ** numbers.uniform(-6, 0)}
    level = numbers.random()
    losses: list[float | None] = [level + (1.5 - level) / (1 + epoch) for epoch in range(FULL + 1)]
    if numbers.random() < 0.2:
        losses[4:] = [None] * (FULL - 3)
    return {"hp": hp, "train": {"loss": losses}, "valid": {"loss": losses}, "test": {"loss": losses}}


def measure(
    data: Path, out: Path, instances: str = "alpha,beta", methods: str = METHODS, multiples: str = "1.5,3,6"
) -> list[dict[str, str]]:
    arguments = ["--data", str(data), "--instances", instances, "--methods", methods, "--seeds", "2"]
    arguments += ["--first-seed", "3", "--multiples", multiples, "--out", str(out)]
    assert search_efficiency.main(arguments) == 0
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_a_run_and_multiple(tasks: Path, tmp_path: Path) -> None:
    rows = measure(tasks, tmp_path / "new" / "out.csv")
    assert list(rows[0]) == ["method", "instance", "seed", "multiple", "regret", "configs", "epochs", "seconds"]
    runs = {(row["method"], row["instance"], row["seed"], row["multiple"]) for row in rows}
    assert len(rows) == len(runs) == 4 * 2 * 2 * 3
    assert {row["seed"] for row in rows} == {"3", "4"}
    assert {row["multiple"] for row in rows} == {"1.5", "3", "6"}


def test_regret_budget_and_seconds(tasks: Path, tmp_path: Path) -> None:
    # A task's best row is known: nothing beats it.
    for row in measure(tasks, tmp_path / "out.csv"):
        assert float(row["regret"]) >= 0.0
        assert float(row["seconds"]) > 0.0
        spent = round(float(row["multiple"]) * FULL)
        assert int(row["epochs"]) == spent
        if row["method"] in ("random", "tpe"):
            assert int(row["configs"]) == -(-spent // FULL)
        else:
            assert 1 <= int(row["configs"]) <= spent


def test_the_same_again_but_for_seconds(tasks: Path, tmp_path: Path) -> None:
    first, second = (measure(tasks, tmp_path / f"{i}.csv") for i in range(2))
    assert [row | {"seconds": ""} for row in first] == [row | {"seconds": ""} for row in second]


def test_a_smaller_budget_is_the_beginning_of_a_larger(tasks: Path, tmp_path: Path) -> None:
    long = measure(tasks, tmp_path / "long.csv")
    short = measure(tasks, tmp_path / "short.csv", multiples="3")
    assert [r | {"seconds": ""} for r in long if r["multiple"] == "3"] == [r | {"seconds": ""} for r in short]


def test_methods_begin_with_the_same_random_configurations(tasks: Path) -> None:
    (problem,) = open_problems(tasks, ["alpha"])
    assert problem.full_epochs == FULL
    series = random_configurations(problem, 7)
    expected = [problem.curve(next(series))[-1] for _ in range(10)]
    for name in ("random", "tpe", "gp"):
        ran = PEERS[name](problem, 7, 0)
        finals = [next(ran).final for _ in range(10 * FULL)][::FULL]
        assert finals == expected, name


@pytest.mark.parametrize("name", [name for name in search_efficiency.METHODS if name != "gp"])
def test_no_epoch_twice(tasks: Path, name: str) -> None:
    (problem,) = open_problems(tasks, ["alpha"])
    reached: dict[int, int] = {}
    rungs: dict[int, int] = {}
    ran = search_efficiency.METHODS[name](problem, 0, 10 * FULL)
    for _ in range(10 * FULL):
        progress = next(ran)
        assert progress.epoch == reached.get(progress.trial, 0) + 1 <= FULL
        assert rungs.get(progress.trial, 0) <= progress.rung <= progress.epoch
        reached[progress.trial], rungs[progress.trial] = progress.epoch, progress.rung


def test_the_highest_rung_goes_before_the_better_value(tasks: Path) -> None:
    def method(_problem: Problem, _seed: int, _budget: int) -> Iterator[Progress]:
        yield Progress(trial=0, epoch=1, value=5.0, rung=1, final=1.0)
        yield Progress(trial=1, epoch=1, value=9.0, rung=1, final=2.0)
        yield Progress(trial=0, epoch=2, value=99.0, rung=1, final=1.0)  # between rungs: its value at the rung counts
        yield Progress(trial=0, epoch=3, value=6.0, rung=3, final=1.0)

    (problem,) = open_problems(tasks, ["alpha"])
    readings = list(search_efficiency.read_off(method, problem, 0, [n / FULL for n in (1, 2, 3, 4, 9)]))
    assert [reading.epochs for reading in readings] == [1, 2, 3, 4, 4]
    assert [reading.configs for reading in readings] == [1, 2, 2, 2, 2]
    promoted = [1.0, 2.0, 2.0, 1.0, 1.0]
    assert [reading.regret for reading in readings] == [problem.scale.regret(value) for value in promoted]


def test_a_recorded_task(tasks: Path) -> None:
    (problem,) = open_problems(tasks, ["beta"])
    records = json.loads((tasks / "beta.json").read_text())
    finals = []
    for one in records:
        hp = one["hp"]
        params = {key: value for key, value in hp.items() if not key.startswith("beta")}
        params |= {f"one_minus_{key}": 1 - hp[key] for key in ("beta1", "beta2")}
        training = Training(problem, 0, params)
        scores = [training.epoch().value for _ in range(FULL)]
        expected = [100 * (1 - min(1.0 if loss is None else loss, 1.0)) for loss in one["valid"]["loss"][1:]]
        assert scores == pytest.approx(expected)
        finals.append(expected[-1])
    assert any(final == 0.0 for final in finals), "some diverged"
    assert problem.scale.best_known == pytest.approx(max(finals))
    assert problem.scale.regret(problem.scale.median_random) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--methods": "random,magic"}, r"no method magic; there are halving, random, "),
        ({"--instances": "alpha,gamma,delta"}, r"no instance gamma, delta in .*; it holds alpha, beta"),
        ({"--data": "/nowhere/at/all"}, r"/nowhere/at/all is not a folder"),
        ({"--multiples": "5,-1"}, r"a multiple is above 0"),
        ({"--multiples": "5,many"}, r"numbers, separated by commas, not 5,many"),
        ({"--seeds": "0"}, r"--seeds: .*'0'"),
    ],
)
def test_what_is_wrong_is_named(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], words: str
) -> None:
    asked = {"--data": str(tasks), "--instances": "alpha", "--methods": "random", "--out": str(tmp_path / "o.csv")}
    asked |= change
    try:
        status: object = search_efficiency.main([part for pair in asked.items() for part in pair])
    except SystemExit as end:  # what argparse finds
        status = end.code
    assert status == 2
    assert re.search(words, capsys.readouterr().err)
    assert not (tmp_path / "o.csv").exists()


def test_a_folder_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    asked = ["--data", str(tmp_path / "data"), "--instances", "a", "--out", str(tmp_path / "o.csv")]
    assert search_efficiency.main(asked) == 2
    assert "holds neither model.onnx" in capsys.readouterr().err
    (tmp_path / "data" / "a.json").write_text('{"not": "records"}')
    assert search_efficiency.main(asked) == 2
    assert "a.json does not hold recorded trainings" in capsys.readouterr().err


def test_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "table.csv"
    lines = ["method,instance,seed,multiple,regret,configs,epochs,seconds"]
    for instance in "ab":
        for seed in range(10):
            lines.append(f"ours,{instance},{seed},5,{0.1 + 0.01 * seed},1,1,0.1")
            lines.append(f"theirs,{instance},{seed},5,{0.2 + 0.01 * seed},1,1,0.1")
    table.write_text("\n".join([*lines, "theirs,c,0,5,9,1,1,0.1", "theirs,a,0,20,0,1,1,0.1"]))
    assert compare.main([str(table), "ours", "theirs"]) == 0
    shown = capsys.readouterr().out.splitlines()
    expected = "5×: ours 0.145, theirs 0.245, difference -0.100 "
    assert shown[1:] == [expected + "[-0.100, -0.100] | [-0.100, -0.100], better in 20 of 20"]
    assert compare.main([str(table), "ours", "nobody"]) == 2
    assert "no method nobody; there are ours, theirs" in capsys.readouterr().err


@pytest.mark.skipif(not TASKSET.is_dir(), reason="the recorded curves are not here")
def test_taskset_as_it_is_shipped(tmp_path: Path) -> None:
    instance = sorted(path.stem for path in TASKSET.glob("*.json"))[0]
    rows = measure(TASKSET, tmp_path / "out.csv", instance, "halving,random", "5")
    assert [int(row["epochs"]) for row in rows] == [250] * 4


@pytest.mark.skipif(not LCBENCH.is_dir() or not find_spec("onnxruntime"), reason="the surrogate is not here")
def test_lcbench_as_it_is_shipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = measure(LCBENCH, tmp_path / "out.csv", "126026", "halving,random", "5")
    assert [int(row["epochs"]) for row in rows] == [260] * 4
    assert all(float(row["regret"]) >= 0.0 for row in rows)
    assert [row["configs"] for row in rows if row["method"] == "random"] == ["5", "5"]
    (problem,) = open_problems(LCBENCH, ["126026"])
    assert 99.0 < problem.scale.best_known <= 100.0
    asked = ["--data", str(LCBENCH), "--instances", "126026,12", "--out", str(tmp_path / "o.csv")]
    assert search_efficiency.main(asked) == 2
    assert "no instance 12 in" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("decisions.py --trials 12", "12 trials, "),
        ("noop_trials.py --trials 3 --rounds 1", "a new process for every trial"),
        ("end_to_end.py --trials 1 --epochs 1 --images 15 --size 32 --peers optuna", r"optuna .* × ours"),
        ("image_cache.py --images 12 --rounds 1", "times as many"),
        ("box_formats.py --images 20 --rounds 1", "a second time: COCO JSON .* times that"),
        ("checkpoint_block.py --megabytes 2 --rounds 1", "torch.save"),
        ("diffusion_cache.py --images 12 --size 32 --rounds 1 --builtin", "times as many"),
    ],
)
def test_what_times_something_runs(command: str, expected: str, tmp_path: Path) -> None:
    name, *words = command.split()
    done = script(ROOT / "benchmarks" / name, words, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(expected, done.stdout), done.stdout
