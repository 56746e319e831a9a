"""Public doors only: commands as processes, files of a study folder, Optuna on its database. And how tables compare.

What lies in `golden/` was recorded by `record_golden.py`, `studies/` by `make_old_studies.py`.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from in_process import command

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
DATA, GOLDEN, STUDIES = HERE / "data", HERE / "golden", HERE / "studies"

ROUNDED = 1e-9  # another CPU or another library of mathematics rounds the last digits differently
MATCHED = 0.1  # in detection it can change which box matches which object, and the loss with it
# Times, and what an interruption may change.
OPEN_COLUMNS = frozenset({"seconds", "ended_at", "retries", "checkpoint"})
# Texts for people, which may be put better: of these only the numbers must stay.
WORDED = frozenset({"reason"})
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")

Row = dict[str, str]


def code_root() -> Path:
    """The code under test: this repository, or another copy of it while golden files are recorded from that one."""
    return Path(os.environ.get("RUNGWISE_RECORD_FROM", ROOT))


def python(folder: Path, *words: str, real: bool = False, **environment: str) -> Any:
    """Runs `python …` in a folder, with the code under test and the folder's own task on its path.

    `python -m …` runs in this process, but for `real` ones and where golden files are recorded from other code.
    """
    path = os.pathsep.join([str(code_root()), str(folder)])
    fixed = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "400"}
    if words[0] == "-m" and not real and code_root() == ROOT:
        return command(words[1], words[2:], folder, {**fixed, **environment}, [folder])
    fixed["PYTHONPATH"] = path
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env={**os.environ, **fixed, **environment},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def orchestrator(folder: Path, *words: str, status: int = 0) -> str:
    """Runs a command of the orchestrator to its end; what it printed."""
    done = python(folder, "-m", "orchestrator", *words)
    assert done.returncode == status, f"{words}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def carried_on(folder: Path, name: str, *more: str, status: int = 0) -> str:
    """The command that the study was begun with."""
    return orchestrator(
        folder, "run", f"{name}.yaml", "--workers", "1", "--threads-per-slot", "1", *more, status=status
    )


def workplace(folder: Path, *names: str) -> Path:
    """A folder with the trials files, the toy task, and old studies in `outputs`, made elsewhere.

    An old study holds no path that must be changed by hand where its data lie in no folder: `config.yaml` of each
    trial and the checkpoints name the folder that the study was made in, and so does the Optuna study's attribute
    `folder`, and none of them is read for it. Data in a folder would stand in `plan.yaml` by an absolute path.
    """
    shutil.copytree(DATA, folder, dirs_exist_ok=True)
    for name in names:
        with tarfile.open(STUDIES / f"{name}.tar.xz") as archive:
            # The argument `filter` came with Python 3.11.4.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(folder / "outputs")
    return folder


def rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def numbers(text: str) -> list[float]:
    """The numbers in a text, sorted: what is left of a reason when its words and their order change."""
    return sorted(float(number) for number in NUMBER.findall(text))


def same_cell(expected: str, actual: str, relative: float) -> bool:
    if expected == actual:
        return True
    try:
        return close(float(expected), float(actual), relative)
    except ValueError:
        return False


def close(expected: Any, actual: Any, relative: float = ROUNDED) -> bool:
    """Whether plain data are equal, numbers within a relative distance."""
    if isinstance(expected, float) and isinstance(actual, float):
        return math.isclose(expected, actual, rel_tol=relative, abs_tol=relative) or math.isnan(expected + actual)
    if isinstance(expected, dict) and isinstance(actual, dict):
        return [*expected] == [*actual] and all(close(expected[key], actual[key], relative) for key in expected)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(close, expected, actual, [relative] * len(expected)))
    return bool(type(expected) is type(actual) and expected == actual)


def table_differences(
    expected: Sequence[Row], actual: Sequence[Row], left_out: Collection[str], worded: Collection[str], relative: float
) -> list[str]:
    found = [] if len(expected) == len(actual) else [f"{len(expected)} rows became {len(actual)}"]
    for number, (before, now) in enumerate(zip(expected, actual, strict=False), start=1):
        for column in before.keys() - set(left_out):
            was, is_ = before[column], now[column]
            same = numbers(was) == numbers(is_) if column in worded else same_cell(was, is_, relative)
            if not same:
                found.append(f"row {number}, {column}: {was!r} became {is_!r}")
    return found


def assert_equal_but_for_times(
    expected_csv: Path,
    actual_csv: Path,
    worded: Collection[str] = (),
    relative: float = ROUNDED,
    left_out: Collection[str] = OPEN_COLUMNS,
) -> None:
    """The same columns in the same order, the same rows in the same order, the same cells but for those of times.

    Of columns in `worded` only the numbers are compared; `relative` is how far other numbers may lie apart.
    """
    heads = [path.read_text(encoding="utf-8").splitlines()[0] for path in (expected_csv, actual_csv)]
    assert heads[0] == heads[1], "the columns differ"
    differences = table_differences(rows(expected_csv), rows(actual_csv), left_out, worded, relative)
    assert not differences, "\n".join([f"{actual_csv} is not {expected_csv}:", *differences[:20]])


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def shape_of(value: Any) -> Any:
    """The structure of plain data: keys and kinds; a list is what its items are, a number its kind."""
    if isinstance(value, dict):
        return {str(key): shape_of(item) for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, list | tuple):
        kinds = {json.dumps(shape_of(item), sort_keys=True) for item in value}
        return [json.loads(kind) for kind in sorted(kinds)]
    return type(value).__name__


def study_facts(folder: Path) -> dict[str, Any]:
    """What the database says of a study by Optuna alone, without times, words and places."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{folder / 'study.db'}"
    return {
        name: {
            "directions": [direction.name for direction in study.directions],
            "attributes": shape_of(study.user_attrs),
            "trials": [trial_facts(trial) for trial in study.get_trials(deepcopy=False)],
        }
        for name in sorted(optuna.get_all_study_names(url))
        for study in [optuna.load_study(study_name=name, storage=url)]
    }


def trial_facts(trial: Any) -> dict[str, Any]:
    attributes = dict(trial.user_attrs)
    kept = dict(attributes.get("kept", {}))
    exact = {name: kept.get(name) for name in ("rung", "step", "losses", "results", "spared", "eliminated")}
    return {
        "state": trial.state.name,
        "value": trial.value,
        "params": trial.params,
        "values": {str(epoch): value for epoch, value in sorted(trial.intermediate_values.items())},
        "identity": {k: v for k, v in attributes.get("identity", {}).items() if k != "config_key"},
        "reason": numbers(attributes.get("reason", "")),
        "decisions": [[number, numbers(line)] for number, line in kept.get("decisions", [])],
        "keys": sorted([*attributes, *(f"kept.{name}" for name in kept)]),
        **exact,
    }
