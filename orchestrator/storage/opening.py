"""Opening an existing study folder: its plan and its Optuna studies, in a store that is opened once per command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.storage.lock import is_held
from orchestrator.storage.optuna_study import OptunaStudy
from orchestrator.storage.store import Store, open_store
from orchestrator.study.folder import StudyFolder
from orchestrator.study.plan import Plan, plan_from_plain
from orchestrator.study.state import StudyState
from trainer.api import ConfigError, Problem, read_config_file


@dataclass(frozen=True)
class Snapshot:
    """A study at the time when it was read. `aside` are promoted runs with the other start (from scratch, or from the
    search's checkpoints): reports do not include them."""

    plan: Plan
    search: StudyState
    full: StudyState
    aside: StudyState


def read_study(folder: Path) -> Snapshot:
    """The study in a folder, only for reading: creates nothing. `ConfigError` where there is none."""
    plan = read_plan(folder)
    with existing(plan) as store:
        return Snapshot(plan, read_search(store, plan), read_full(store, plan), read_aside(store, plan))


def read_plan(folder: Path) -> Plan:
    """The plan of a study folder; `ConfigError` where there is none."""
    files = StudyFolder(folder.absolute())
    if not files.plan.is_file():
        what = f"is not a study: it holds no {files.plan.name}"
        if is_held(files):
            what = "has not begun yet: its data are being prepared"
        raise ConfigError([Problem(str(files), what)])
    return plan_from_plain(read_config_file(files.plan), files.path)


@contextmanager
def opened(plan: Plan) -> Iterator[Store]:
    """The plan's store, open for the time of the block."""
    store = open_store(plan.storage_url)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def existing(plan: Plan) -> Iterator[Store]:
    """As `opened`, for a study that has begun: makes no database. `ConfigError` where its own file is not there."""
    if not plan.storage and not plan.files.database.is_file():
        raise ConfigError([Problem(str(plan.folder), "holds no study.db: the study has not begun, or was moved")])
    with opened(plan) as store:
        yield store


def open_search(store: Store, plan: Plan) -> OptunaStudy:
    """The search's study. `ConfigError` where this folder's has not begun and another folder's has the same name."""
    new = bool(plan.storage) and not plan.files.plan.exists()
    about = {"metric": plan.metric.label, "budget": plan.top.words(), "folder": str(plan.folder)}
    return store.study(plan.name, plan.metric, plan.shapes, about, new)


def open_full(store: Store, plan: Plan) -> OptunaStudy:
    """The study of the promoted runs."""
    about = {"metric": plan.metric.label, "budget": plan.full.words(), "promoted from": plan.name}
    return store.study(plan.full_name, plan.metric, plan.shapes, about)


def read_search(store: Store, plan: Plan) -> StudyState:
    """The search's trials, only for reading; `ConfigError` where there is no such study."""
    search = store.read(plan.name)
    if search is None:
        what = f"{plan.storage or 'its study.db'} holds no study {plan.name}: it is another's, or was emptied"
        raise ConfigError([Problem(str(plan.folder), what)])
    return search


def read_full(store: Store, plan: Plan) -> StudyState:
    """The promoted runs with the plan's start, without those of the other one; empty before the first promotion."""
    return store.read(plan.full_name) or StudyState()


def read_aside(store: Store, plan: Plan) -> StudyState:
    """The promoted runs with the other start."""
    return read_full(store, replace(plan, from_checkpoint=not plan.from_checkpoint))
