"""A store holds studies by name: a database opened once, or the memory of this process.

Both are an Optuna storage underneath, so that the twin in memory behaves as the database does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from sqlalchemy.engine import make_url

from orchestrator.storage.database import open_storage, retried
from orchestrator.storage.optuna_study import OptunaStudy
from orchestrator.study.space import Shape
from orchestrator.study.state import StudyState
from trainer.api import ConfigError, Metric, Problem


class Store(Protocol):
    """Studies by name."""

    def study(
        self, name: str, metric: Metric, shapes: Mapping[str, Shape], about: Mapping[str, Any], new: bool = False
    ) -> OptunaStudy:
        """Opens or creates a study, shown with `about` in the dashboard; with `new`, none that another folder began.

        `ConfigError` where the name belongs to another program or folder.
        """
        ...

    def read(self, name: str) -> StudyState | None:
        """What is known of a study, for looking at: creates nothing; None where there is no such study."""
        ...

    def close(self) -> None: ...


def open_store(url: str) -> Store:
    """The store behind a database URL; `ConfigError` where there is none."""
    return OptunaStore(open_storage(url), make_url(url).render_as_string(hide_password=True))


def memory_store() -> Store:
    """A store that ends with its process."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return OptunaStore(InMemoryStorage(), "memory")


class OptunaStore:
    """Studies in one of Optuna's storages; `place` is its name in messages."""

    def __init__(self, storage: BaseStorage, place: str) -> None:
        self._storage, self._place = storage, place

    def study(
        self, name: str, metric: Metric, shapes: Mapping[str, Shape], about: Mapping[str, Any], new: bool = False
    ) -> OptunaStudy:
        storage, direction = self._storage, StudyDirection[metric.direction.upper()]
        study_id = self._usable(name, direction, about.get("folder") if new else None)
        if study_id is None:
            study_id = retried(lambda: storage.create_new_study([direction], name))
        there = retried(lambda: storage.get_study_user_attrs(study_id))
        for key, value in about.items():
            if there.get(key) != value:
                retried(lambda key=key, value=value: storage.set_study_user_attr(study_id, key, value))  # type: ignore[misc]
        return OptunaStudy(storage, study_id, shapes)

    def read(self, name: str) -> StudyState | None:
        study_id = self._id_of(name)
        return None if study_id is None else OptunaStudy(self._storage, study_id, {}).load(unfinished=True)

    def close(self) -> None:
        if isinstance(self._storage, RDBStorage):
            self._storage.remove_session()
            self._storage.engine.dispose()

    def _id_of(self, name: str) -> int | None:
        studies = retried(self._storage.get_all_studies)
        return next((study._study_id for study in studies if study.study_name == name), None)

    def _usable(self, name: str, direction: StudyDirection, own: str | None) -> int | None:
        """The id of the study of that name, None where there is none; `ConfigError` for another program's or folder's.

        What a call left whose data were refused is removed if it searched by another metric: Optuna keeps the
        direction.
        """
        storage, study_id = self._storage, self._id_of(name)
        if study_id is None:
            return None
        fits = retried(lambda: storage.get_study_directions(study_id)) == [direction]
        begun = retried(lambda: storage.get_n_trials(study_id)) > 0
        about = retried(lambda: storage.get_study_user_attrs(study_id))
        if "metric" not in about and (begun or not fits):
            raise self._taken(name, "made by another program")
        if begun and own is not None and about.get("folder", own) != own:
            raise self._taken(name, f"that of {about['folder']}")
        if begun or fits:
            return study_id
        retried(lambda: storage.delete_study(study_id))
        return None

    def _taken(self, name: str, whose: str) -> ConfigError:
        what = f"{self._place} holds a study {name} already, {whose}; choose another name"
        return ConfigError([Problem("--study", what)])
