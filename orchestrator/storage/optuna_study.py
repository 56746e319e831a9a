"""The Optuna study: the only place that reads or writes it.

One Optuna trial per configuration. A trial is RUNNING while it is worked on, WAITING while it rests with a
checkpoint, and told COMPLETE, PRUNED or FAIL once. Everything needed to go on after a kill stands in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState
from sqlalchemy.engine import make_url

from orchestrator.storage.database import open_storage, retried
from orchestrator.study.distributions import Shape, distribution, optuna_value
from orchestrator.study.state import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING, StudyState, TrialState
from trainer.api import ConfigError, Problem

_STATES = {
    RUNNING: OptunaState.RUNNING,
    PAUSED: OptunaState.WAITING,
    COMPLETED: OptunaState.COMPLETE,
    PRUNED: OptunaState.PRUNED,
    FAILED: OptunaState.FAIL,
}
_STATUSES = {state: status for status, state in _STATES.items()}
# What is kept of a trial in one attribute, rewritten with each evaluation.
_KEPT = (
    "rung", "step", "seconds", "retries", "checkpoint", "device", "failure_kind", "failure_line", "eliminated",
    "wasted",
)  # fmt: skip
_IDENTITY = ("index", "config_key", "origin", "retry_of", "seed_index", "source_trial", "weights")  # never changes
# By epoch or by rung, whose numbers JSON makes text.
_BY_NUMBER = ("losses", "results", "ended", "slots", "spared", "parts")


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
    def open(
        cls,
        url: str,
        name: str,
        maximize: bool,
        shapes: Mapping[str, Shape],
        about: Mapping[str, Any],
        new: bool = False,
    ) -> Study:
        """Opens or creates a study, shown with `about` in the dashboard; if `new`, none that another folder began."""
        storage = open_storage(url)
        direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
        study_id = _usable(storage, url, name, direction, about.get("folder") if new else None)
        if study_id is None:
            study_id = retried(lambda: storage.create_new_study([direction], name))
        study = cls(storage, study_id, shapes)
        there = retried(lambda: storage.get_study_user_attrs(study_id))
        for key, value in about.items():
            if there.get(key) != value:
                retried(lambda key=key, value=value: storage.set_study_user_attr(study_id, key, value))  # type: ignore[misc]
        return study

    @classmethod
    def read(cls, url: str, name: str) -> StudyState | None:
        """What is known of a study, for looking at: creates nothing; None where there is no such study."""
        storage = open_storage(url)
        study_id = _study_id(storage, name)
        state = cls(storage, study_id, {}).load(unfinished=True) if study_id is not None else None
        storage.engine.dispose()
        return state

    @classmethod
    def existing(cls, url: str, name: str) -> Study:
        """A study that is there, to show something with it in the dashboard."""
        storage = open_storage(url)
        study_id = _study_id(storage, name)
        assert study_id is not None, f"{name} was opened before"
        return cls(storage, study_id, {})

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
        trial.number = self._number(trial_id)
        self._ids[trial.number] = trial_id
        self._states[trial.number] = OptunaState.RUNNING
        if trial.trial_id != attrs["trial_id"]:  # someone else wrote to the study
            self._set(trial, "trial_id", trial.trial_id)

    def _number(self, trial_id: int) -> int:
        """Of a trial just created: the next where its id is the next, because a study loses none of its trials."""
        last = max(self._ids, default=-1)
        if self._ids.get(last) == trial_id - 1:
            return last + 1
        return retried(lambda: self._storage.get_trial_number_from_id(trial_id))

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

    def attach(self, artifact_ids: Mapping[int, str], about: Mapping[str, Any]) -> None:
        """Shows files with trials in the dashboard: number → the artifact's name. As attributes of the study, since a
        finished trial takes none any more; the same again writes nothing."""
        there = retried(lambda: self._storage.get_study_system_attrs(self._study_id))
        frozen = retried(lambda: self._storage.get_all_trials(self._study_id, deepcopy=False))
        ids = {trial.number: trial._trial_id for trial in frozen}
        for number, artifact_id in artifact_ids.items():
            key = f"dashboard:artifacts:{ids[number]}:{artifact_id}"
            value = json.dumps({"artifact_id": artifact_id, **about})
            if there.get(key) != value:
                retried(lambda k=key, v=value: self._storage.set_study_system_attr(self._study_id, k, v))  # type: ignore[misc]

    def annotate(self, words: str, signature: str) -> None:
        """Writes the study's note in the dashboard, unless there is one without our signature: a person's own."""
        from optuna_dashboard import get_note, save_note  # takes its time to import

        name = retried(lambda: self._storage.get_study_name_from_id(self._study_id))
        study = retried(lambda: optuna.load_study(study_name=name, storage=self._storage))
        there = retried(lambda: get_note(study))
        if there != words and (not there or signature in there):
            retried(lambda: save_note(study, words))

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


def _taken(url: str, name: str, whose: str) -> ConfigError:
    where = make_url(url).render_as_string(hide_password=True)
    return ConfigError([Problem("--study", f"{where} holds a study {name} already, {whose}; choose another name")])


def _usable(storage: RDBStorage, url: str, name: str, direction: StudyDirection, own: str | None) -> int | None:
    """The id of the study of that name, None where there is none; `ConfigError` for another program's or folder's.

    What a call left whose data were refused is removed if it searched by another metric: Optuna keeps the direction.
    """
    study_id = _study_id(storage, name)
    if study_id is None:
        return None
    fits = retried(lambda: storage.get_study_directions(study_id)) == [direction]
    begun = retried(lambda: storage.get_n_trials(study_id)) > 0
    about = retried(lambda: storage.get_study_user_attrs(study_id))
    if "metric" not in about and (begun or not fits):
        raise _taken(url, name, "made by another program")
    if begun and own is not None and about.get("folder", own) != own:
        raise _taken(url, name, f"that of {about['folder']}")
    if begun or fits:
        return study_id
    retried(lambda: storage.delete_study(study_id))
    return None


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
