"""An existing study folder: its plan, and its Optuna studies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.engine.promotion import full_study_name
from orchestrator.output.study_files import PLAN
from orchestrator.storage.lock import is_held
from orchestrator.storage.optuna_study import Study
from orchestrator.study.plan import Plan, plan_from_plain
from orchestrator.study.state import StudyState
from trainer.api import ConfigError, Problem, read_config_file


def read_state(folder: Path) -> tuple[Plan, StudyState, StudyState]:
    """Plan, search and full runs of a study folder, for looking at."""
    plan = read_plan(folder)
    if not plan.storage and not (plan.folder / "study.db").is_file():
        raise ConfigError([Problem(str(plan.folder), "holds no study.db: the study has not begun, or was moved")])
    search = Study.read(plan.storage_url, plan.name)
    if search is None:
        what = f"{plan.storage or 'its study.db'} holds no study {plan.name}: it is another's, or was emptied"
        raise ConfigError([Problem(str(plan.folder), what)])
    return plan, search, read_full(plan)


def read_plan(folder: Path) -> Plan:
    """The plan of a study folder; `ConfigError` where there is none."""
    folder = folder.absolute()
    if not (folder / PLAN).is_file():
        what = f"is not a study: it holds no {PLAN}"
        if is_held(folder):
            what = "has not begun yet: its data are being prepared"
        raise ConfigError([Problem(str(folder), what)])
    return plan_from_plain(read_config_file(folder / PLAN), folder)


def open_search(plan: Plan) -> Study:
    """The search's study; where the folder's own has not begun, another folder's of the same name is refused."""
    new = bool(plan.storage) and not (plan.folder / PLAN).exists()
    about = {"metric": plan.metric.label, "budget": plan.top.words(), "folder": str(plan.folder)}
    return Study.open(plan.storage_url, plan.name, plan.metric.direction == "maximize", plan.shapes, about, new)


def read_full(plan: Plan) -> StudyState:
    """The promoted runs of the plan's start, and never those of the other; none where nothing was promoted yet."""
    return Study.read(plan.storage_url, full_study_name(plan)) or StudyState()


def read_aside(plan: Plan) -> StudyState:
    """The promoted runs of the other start: they have no part in what is said of the study."""
    return read_full(replace(plan, from_checkpoint=not plan.from_checkpoint))


def open_full(plan: Plan) -> Study:
    about = {"metric": plan.metric.label, "budget": plan.full.words(), "promoted from": plan.name}
    name = full_study_name(plan)
    return Study.open(plan.storage_url, name, plan.metric.direction == "maximize", plan.shapes, about)
