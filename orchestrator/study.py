"""The Optuna study: the only place that reads or writes it.

One Optuna trial per configuration. A trial is RUNNING while it is worked on, WAITING while it rests with a
checkpoint, and told COMPLETE, PRUNED or FAIL once. Everything needed to go on after a kill stands in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, InterfaceError
from sqlalchemy.exc import DatabaseError as SqlError

from orchestrator.space import Shape, distribution, optuna_value
from orchestrator.state import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING, StudyState, TrialState
from trainer.api import ConfigError, Problem, TrainingError

log = logging.getLogger(__name__)
Result = TypeVar("Result")

_STATES = {
    RUNNING: OptunaState.RUNNING,
    PAUSED: OptunaState.WAITING,
    COMPLETED: OptunaState.COMPLETE,
    PRUNED: OptunaState.PRUNED,
    FAILED: OptunaState.FAIL,
}
_STATUSES = {state: status for status, state in _STATES.items()}
_BUSY_SECONDS = 5.0  # SQLite waits so long by itself, deaf to signals; then `retried` waits
_PATIENCE_SECONDS = 3600.0  # a database that comes back within the hour costs no trial
_OPEN_SECONDS = 120.0  # at the start a server that is not there is more likely a mistake
# What is kept of a trial in one attribute, rewritten with each evaluation.
_KEPT = (
    "rung", "step", "seconds", "retries", "checkpoint", "device", "failure_kind", "failure_line", "eliminated",
)  # fmt: skip
_IDENTITY = ("index", "config_key", "origin", "retry_of", "seed_index", "source_trial", "weights")  # never changes
_BY_NUMBER = ("losses", "results", "ended", "slots", "spared")  # by epoch or by rung, whose numbers JSON makes text


class Study:
    """One Optuna study, and the numbers of its trials ↔ the storage's own ids."""

    def __init__(self, storage: RDBStorage, study_id: int, shapes: Mapping[str, Shape]) -> None:
        self._storage, self._study_id, self._shapes = storage, study_id, shapes
        self._ids: dict[int, int] = {}
        self._creating = False
        self._dropped: set[int] = set()
        self._rungs: dict[int, int] = {}  # as written, and so is the following
        self._written: dict[int, dict[str, Any]] = {}
        self._states: dict[int, OptunaState] = {}

    @classmethod
    def open(cls, url: str, name: str, maximize: bool, shapes: Mapping[str, Shape], about: Mapping[str, Any]) -> Study:
        """Opens or creates a study; `about` is shown with it in the dashboard."""
        storage = open_storage(url)
        direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
        study_id = _study_id(storage, name)
        if study_id is None:
            study_id = retried(lambda: storage.create_new_study([direction], name))
        study = cls(storage, study_id, shapes)
        there = retried(lambda: storage.get_study_user_attrs(study_id))
        for key, value in about.items():
            if there.get(key) != value:
                retried(lambda key=key, value=value: storage.set_study_user_attr(study_id, key, value))  # type: ignore[misc]
        return study

    @classmethod
    def read(cls, url: str, name: str) -> StudyState:
        """What is known of a study, for looking at: creates nothing; empty where there is no such study."""
        storage = open_storage(url)
        study_id = _study_id(storage, name)
        state = cls(storage, study_id, {}).load(unfinished=True) if study_id is not None else StudyState()
        storage.engine.dispose()
        return state

    def load(self, unfinished: bool = False) -> StudyState:
        """Everything known of all trials, rebuilt from the study alone.

        With `unfinished`, for looking at, also the values of epochs whose record a decision has not completed yet.
        """
        frozen = retried(lambda: self._storage.get_all_trials(self._study_id, deepcopy=False))
        attrs = retried(lambda: self._storage.get_study_user_attrs(self._study_id))
        self._ids = {trial.number: trial._trial_id for trial in frozen}
        trials = {trial.number: _trial_state(trial) for trial in sorted(frozen, key=lambda trial: trial.number)}
        self._dropped = set(attrs.get("dropped", []))
        self._rungs = {trial.number: trial.user_attrs["rung"] for trial in frozen if "rung" in trial.user_attrs}
        self._states = {trial.number: trial.state for trial in frozen}
        for trial in trials.values() if not unfinished else ():
            trial.untold = {epoch: value for epoch, value in trial.values.items() if epoch not in trial.losses}
            trial.values = {epoch: value for epoch, value in trial.values.items() if epoch in trial.losses}
        for trial in trials.values():
            if trial.origin is not None:  # a duplicate has no evaluations of its own
                origin = trials[trial.origin]
                trial.values, trial.losses = dict(origin.values), dict(origin.losses)
                trial.results = dict(origin.results)
            if not self._dropped.isdisjoint((trial.number, trial.origin)):
                trial.checkpoint = ""
        last = max((sequence for t in trials.values() for sequence, _ in t.decisions), default=0)
        return StudyState(trials, float(attrs.get("seconds", 0.0)), last)

    def add(self, trial: TrialState, values: Mapping[str, Any]) -> None:
        """Writes a new trial in one step and gives it its number. `values` are those of its active parameters."""
        params: dict[str, Any] = {}
        distributions = {}
        outside: dict[str, Any] = {}
        for key, value in values.items():
            shape = self._shapes[key]
            fits, stored = optuna_value(shape, value)
            if fits:
                params[key], distributions[key] = stored, distribution(shape)
            else:
                outside[key] = value
        attrs = {
            "trial_id": len(self._ids) + 1,
            "rung": trial.rung,
            "identity": {**{name: getattr(trial, name) for name in _IDENTITY}, "overrides": dict(trial.overrides)},
            **({"outside": outside} if outside else {}),
        }
        template = create_trial(state=OptunaState.RUNNING, params=params, distributions=distributions, user_attrs=attrs)
        trial_id = retried(lambda: self._created(template))
        trial.number = retried(lambda: self._storage.get_trial_number_from_id(trial_id))
        self._ids[trial.number] = trial_id
        self._states[trial.number] = OptunaState.RUNNING
        if trial.trial_id != attrs["trial_id"]:  # someone else wrote to the study
            self._set(trial, "trial_id", trial.trial_id)

    def _created(self, template: FrozenTrial) -> int:
        """Creates a trial; where a server went away with the answer to an earlier try, that try's trial is taken."""
        if self._creating:
            known = set(self._ids.values())
            there = retried(lambda: self._storage.get_all_trials(self._study_id, deepcopy=False))
            mine = [frozen._trial_id for frozen in there if frozen._trial_id not in known]
            if mine:
                self._creating = False
                return mine[0]
        self._creating = True
        trial_id: int = self._storage.create_new_trial(self._study_id, template)
        self._creating = False
        return trial_id

    def evaluated(self, trial: TrialState, epoch: int) -> None:
        """Writes the value of an epoch; the rest of the evaluation follows with the trial's next decision.

        A kill in between costs nothing: an epoch without its loss is not known, and the checkpoint tells it again.
        """
        trial_id, value = self._ids[trial.number], trial.values[epoch]
        retried(lambda: self._storage.set_trial_intermediate_value(trial_id, epoch, value))

    def decided(self, trial: TrialState) -> None:
        """Writes a trial's status with its reason; the status last, so that it never stands without them."""
        trial_id = self._ids[trial.number]
        self.kept(trial)
        self._set(trial, "reason", trial.reason)
        if trial.rung != self._rungs.get(trial.number, 1):  # for whoever looks at it in the dashboard
            self._rungs[trial.number] = trial.rung
            self._set(trial, "rung", trial.rung)
        state = _STATES[trial.status]
        if state is self._states.get(trial.number):
            return
        self._states[trial.number] = state
        told = state in (OptunaState.COMPLETE, OptunaState.PRUNED) and trial.value is not None
        values = [trial.value] if told else None

        def tell() -> None:
            with suppress(UpdateFinishedTrialError):  # by an earlier try, whose answer a server took with it
                self._storage.set_trial_state_values(trial_id, state, values)  # type: ignore[arg-type]

        retried(tell)

    def dropped(self, trial: TrialState) -> None:
        """Writes that a trial's checkpoints are gone; in the study, because a finished trial takes no more."""
        self._dropped.add(trial.number)
        numbers = sorted(self._dropped)
        retried(lambda: self._storage.set_study_user_attr(self._study_id, "dropped", numbers))

    def spent(self, seconds: float) -> None:
        """Writes how long the study has run over all calls."""
        retried(lambda: self._storage.set_study_user_attr(self._study_id, "seconds", round(seconds, 1)))

    def close(self) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()

    def kept(self, trial: TrialState) -> None:
        """Writes what is known of a trial beside its values."""
        kept = {name: getattr(trial, name) for name in _KEPT}
        for name in _BY_NUMBER:
            kept[name] = {str(number): value for number, value in getattr(trial, name).items()}
        kept["decisions"] = [list(decision) for decision in trial.decisions]
        if kept != self._written.get(trial.number):
            self._written[trial.number] = kept
            self._set(trial, "kept", kept)
        if trial.is_final:
            self._written.pop(trial.number)

    def _set(self, trial: TrialState, key: str, value: Any) -> None:
        trial_id = self._ids[trial.number]
        retried(lambda: self._storage.set_trial_user_attr(trial_id, key, value))


def _study_id(storage: RDBStorage, name: str) -> int | None:
    studies = retried(storage.get_all_studies)
    return next((study._study_id for study in studies if study.study_name == name), None)


def open_storage(url: str) -> RDBStorage:
    """Optuna's storage behind a URL; SQLite in write-ahead mode with a long busy time-out.

    A power cut may cost the last outcome, which the checkpoint still has; a kill costs nothing.
    """
    sqlite = url.startswith("sqlite:///")
    arguments = {"connect_args": {"timeout": _BUSY_SECONDS}} if sqlite else {"pool_pre_ping": True}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if sqlite:
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        storage = retried(lambda: RDBStorage(url, engine_kwargs=arguments), _OPEN_SECONDS)
    except (ImportError, ArgumentError, OSError) as error:
        raise ConfigError([Problem("--storage", f"{url}: {error}")]) from None
    if sqlite:

        @event.listens_for(storage.engine, "connect")
        def _pragmas(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        storage.engine.dispose()  # the connections made so far have the old settings
    return storage


def retried(work: Callable[[], Result], patience_seconds: float = _PATIENCE_SECONDS) -> Result:
    """Does database work; a locked database or a lost server is waited for, and said once."""
    deadline = time.monotonic() + patience_seconds
    pause = 0.1
    while True:
        try:
            return work()
        except (SqlError, InterfaceError, optuna.exceptions.StorageInternalError) as error:
            cause = error.__cause__ or error
            if time.monotonic() > deadline or not _passing(str(cause)):
                raise DatabaseError(
                    f"the study's database cannot be used: {first_line(str(cause))}; what it recorded before is "
                    "intact, and the same command carries on"
                ) from error
            if pause == 0.1:
                log.warning("the study's database does not answer (%s); trying again", first_line(str(cause)))
            time.sleep(pause)
            pause = min(pause * 2, 5.0)


class DatabaseError(TrainingError):
    """The study's database refuses: no room, no permission, no server, or no database at all."""


def first_line(message: str) -> str:
    return message.strip().splitlines()[0] if message.strip() else "no reason given"


def _passing(message: str) -> bool:
    """Whether a database error is of a kind that waiting can mend."""
    words = ("locked", "busy", "connection", "server closed", "terminating", "starting up", "shutting down", "refused")
    return any(word in message.lower() for word in words)


def _trial_state(frozen: FrozenTrial) -> TrialState:
    attrs = frozen.user_attrs
    kept = attrs.get("kept", {})
    identity = attrs.get("identity", attrs)  # one by one in studies of the first version
    decisions = kept.get("decisions", attrs.get("decisions", []))
    by_number: dict[str, Any] = {name: {int(n): v for n, v in kept.get(name, {}).items()} for name in _BY_NUMBER}
    if "results" not in kept and frozen.state is OptunaState.COMPLETE and frozen.value is not None:
        by_number["results"] = {kept.get("rung", 1): frozen.value}  # written before studies had ladders
    return TrialState(
        number=frozen.number,
        overrides=identity["overrides"],
        status=_STATUSES[frozen.state],
        values={int(epoch): float(value) for epoch, value in sorted(frozen.intermediate_values.items())},
        reason=attrs.get("reason", ""),
        decisions=[(int(sequence), str(line)) for sequence, line in decisions],
        **by_number,
        **{name: identity[name] for name in _IDENTITY if name in identity},
        **{name: kept[name] for name in _KEPT if name in kept},
    )
