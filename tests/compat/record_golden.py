"""Records what `golden/` holds, with the code under test: `python tests/compat/record_golden.py [PART …]`.

Parts: help, api, plans, read, scenarios, tasks; all of them where none is named. To be run again only where a
change of what users see is meant: the difference of the files is then the change. `RUNGWISE_RECORD_FROM=FOLDER` takes
the code of another copy of the repository, with `PYTHONPATH=FOLDER` for what is imported here.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from compat_parts import GOLDEN, orchestrator, python
from scenario_parts import READ, SCENARIOS, Stage, record, write_json
from surface_parts import (
    all_help,
    fresh_workplace,
    plan_structure,
    signatures,
    write_plans,
)
from task_parts import TASKS, facts_of


def help_() -> None:
    write_json(GOLDEN / "help.json", all_help(new_folder()))


def api() -> None:
    from trainer.testing import TaskContract

    write_json(GOLDEN / "api.json", signatures())
    write_json(GOLDEN / "contract.json", [name for name in dir(TaskContract) if not name.startswith("_")])


def plan_files() -> None:
    write_json(GOLDEN / "plans.json", {name: plan_structure(path) for name, path in write_plans(new_folder()).items()})


def scenarios() -> None:
    stage = Stage(new_folder)
    for name in SCENARIOS:
        record(stage.study(name), name)


def read() -> None:
    """What an old study says when it is looked at."""
    folder = fresh_workplace(new_folder())
    study, target = folder / "outputs" / "ladder", GOLDEN / "read"
    target.mkdir(parents=True, exist_ok=True)
    orchestrator(folder, "report", "outputs/ladder")
    shutil.copy(study / "trials.csv", target)
    done = python(folder, "-c", READ, "outputs/ladder")
    assert done.returncode == 0, done.stderr
    for name in ("trials", "evaluations", "decisions"):
        shutil.copy(folder / f"{name}.csv", target / f"{name}-frame.csv")


def tasks() -> None:
    for task in TASKS:
        write_json(GOLDEN / "tasks" / f"{task}.json", facts_of(task, new_folder()))


PARTS = {
    "help": help_,
    "api": api,
    "plans": plan_files,
    "read": read,
    "scenarios": scenarios,
    "tasks": tasks,
}


def new_folder(name: str = "golden") -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{name}-")).resolve()


if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
