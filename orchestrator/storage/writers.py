"""How trials are written to an Optuna storage: each call is one transaction.

Optuna's own methods write one attribute at a time, and each looks at the trial first. Where the database is SQLite or
PostgreSQL, `SqlWriter` writes the same rows to the same tables in one go; `PlainWriter` serves every other storage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sql
from optuna.distributions import distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy.dialects import postgresql, sqlite

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True)
class Change:
    """What is written of one trial: values by epoch, user attributes, and a new state with the trial's value."""

    values: Mapping[int, float] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    state: OptunaState | None = None
    value: float | None = None


class Writer(Protocol):
    """Writes changes of trials; the same change again does no harm, because an answer may be lost on its way."""

    def create(self, study_id: int, template: FrozenTrial) -> int:
        """Creates a running trial with the template's parameters and user attributes; returns the storage's id."""
        ...

    def write(self, trial_id: int, change: Change) -> None: ...


def writer_for(storage: BaseStorage) -> Writer:
    if isinstance(storage, RDBStorage) and storage.engine.name in _INSERTS:
        return SqlWriter(storage)
    return PlainWriter(storage)


class PlainWriter:
    """Through Optuna's own methods; the state last, so that it never stands without the rest."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def create(self, study_id: int, template: FrozenTrial) -> int:
        return self._storage.create_new_trial(study_id, template)

    def write(self, trial_id: int, change: Change) -> None:
        try:
            for epoch, value in change.values.items():
                self._storage.set_trial_intermediate_value(trial_id, epoch, value)
            for key, attr in change.attrs.items():
                self._storage.set_trial_user_attr(trial_id, key, attr)
            if change.state is not None:
                values = None if change.value is None else [change.value]
                self._storage.set_trial_state_values(trial_id, change.state, values)
        except UpdateFinishedTrialError:
            if self._storage.get_trial(trial_id).state != change.state:  # else by an earlier try of this change
                raise


class SqlWriter:
    """In one transaction of SQLAlchemy Core, as Optuna's tables have it."""

    def __init__(self, storage: RDBStorage) -> None:
        self._engine = storage.engine
        self._values = _upsert(storage, models.TrialIntermediateValueModel, "trial_id", "step")
        self._attrs = _upsert(storage, models.TrialUserAttributeModel, "trial_id", "key")
        self._result = _upsert(storage, models.TrialValueModel, "trial_id", "objective")
        trials, studies = models.TrialModel.__table__.c, models.StudyModel.__table__.c
        self._state = sql.update(models.TrialModel).where(trials.trial_id == sql.bindparam("id"))
        self._study = sql.select(studies.study_id).where(studies.study_id == sql.bindparam("id")).with_for_update()
        earlier = sql.and_(trials.study_id == sql.bindparam("study"), trials.trial_id < sql.bindparam("id"))
        self._number = sql.select(sql.func.count()).select_from(models.TrialModel).where(earlier)

    def create(self, study_id: int, template: FrozenTrial) -> int:
        row = {"study_id": study_id, "state": OptunaState.RUNNING, "datetime_start": template.datetime_start}
        with self._engine.begin() as connection:
            connection.execute(self._study, {"id": study_id})  # nobody else counts trials meanwhile
            key = connection.execute(sql.insert(models.TrialModel.__table__), row).inserted_primary_key
            assert key is not None, "one row was inserted"
            trial_id: int = key[0]
            number = connection.execute(self._number, {"study": study_id, "id": trial_id}).scalar_one()
            connection.execute(self._state, {"id": trial_id, "number": number})
            if template.params:
                connection.execute(sql.insert(models.TrialParamModel.__table__), _params(trial_id, template))
            connection.execute(self._attrs, _attrs(trial_id, template.user_attrs))
        return trial_id

    def write(self, trial_id: int, change: Change) -> None:
        with self._engine.begin() as connection:
            if change.values:
                connection.execute(self._values, [_intermediate(trial_id, *one) for one in change.values.items()])
            if change.attrs:
                connection.execute(self._attrs, _attrs(trial_id, change.attrs))
            if change.value is not None:
                number, kind = models.TrialValueModel.value_to_stored_repr(change.value)
                row = {"trial_id": trial_id, "objective": 0, "value": number, "value_type": kind}
                connection.execute(self._result, row)
            if change.state is not None:
                connection.execute(self._state, {"id": trial_id, **_times(change.state)})


def _attrs(trial_id: int, attrs: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in attrs.items()]


def _params(trial_id: int, template: FrozenTrial) -> list[dict[str, Any]]:
    return [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": template.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(template.distributions[name]),
        }
        for name, value in template.params.items()
    ]


def _intermediate(trial_id: int, epoch: int, value: float) -> dict[str, Any]:
    number, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    return {"trial_id": trial_id, "step": epoch, "intermediate_value": number, "intermediate_value_type": kind}


def _times(state: OptunaState) -> dict[str, Any]:
    """A new state with the time that Optuna keeps with it."""
    now = datetime.now()
    if state.is_finished():
        return {"state": state, "datetime_complete": now}
    return {"state": state, "datetime_start": now} if state is OptunaState.RUNNING else {"state": state}


def _upsert(storage: RDBStorage, model: Any, *keys: str) -> Any:
    """A statement that inserts a row, or updates the one that has the same keys."""
    statement = _INSERTS[storage.engine.name](model.__table__)
    primary = {column.name for column in model.__table__.primary_key}
    rest = [c.name for c in model.__table__.columns if c.name not in primary and c.name not in keys]
    new = {name: statement.excluded[name] for name in rest}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=new)
