"""One Optuna study: the only place that reads or writes its trials.

One Optuna trial per configuration. A trial is RUNNING while it is trained, WAITING while it is paused with a
checkpoint, and becomes COMPLETE, PRUNED or FAIL once. It contains everything needed to continue after a kill.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from orchestrator.storage.database import retried
from orchestrator.storage.encoding import STATES, identity, kept, trial_state
from orchestrator.storage.writers import Change, writer_for
from orchestrator.study.space import Shape, distribution, optuna_value
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState


class OptunaStudy:
    """The trials of one study in a storage; `shapes` are the distributions of its parameters."""

    def __init__(self, storage: BaseStorage, study_id: int, shapes: Mapping[str, Shape]) -> None:
        self._storage, self._study_id, self._shapes = storage, study_id, shapes
        self._writer = writer_for(storage)
        self._ids: dict[int, int] = {}  # trial number → id in the storage
        self._creating = False
        self._dropped: set[int] = set()
        self._rungs: dict[int, int] = {}  # as written, and so is the following
        self._written: dict[int, dict[str, Any]] = {}
        self._states: dict[int, OptunaState] = {}

    def load(self, unfinished: bool = False) -> StudyState:
        """The state of all trials, from the study alone.

        With `unfinished`, only for reading, also the values of epochs whose other records are not written yet.
        """
        frozen = retried(lambda: self._storage.get_all_trials(self._study_id, deepcopy=False))
        attrs = retried(lambda: self._storage.get_study_user_attrs(self._study_id))
        self._ids = {trial.number: trial._trial_id for trial in frozen}
        trials = {trial.number: trial_state(trial) for trial in sorted(frozen, key=lambda trial: trial.number)}
        self._dropped = set(attrs.get("dropped", []))
        self._rungs = {trial.number: trial.user_attrs["rung"] for trial in frozen if "rung" in trial.user_attrs}
        self._states = {trial.number: trial.state for trial in frozen}
        for trial in trials.values() if not unfinished else ():
            trial.untold = {epoch: one for epoch, one in trial.evaluations.items() if one.loss is None}
            trial.evaluations = {epoch: one for epoch, one in trial.evaluations.items() if one.loss is not None}
        for trial in trials.values():
            if trial.origin is not None:  # a duplicate has no evaluations of its own
                origin = trials[trial.origin]
                trial.evaluations, trial.results = dict(origin.evaluations), dict(origin.results)
            if not self._dropped.isdisjoint((trial.number, trial.origin)):
                trial.checkpoint = ""
        last = max((sequence for t in trials.values() for sequence, _ in t.decisions), default=0)
        return StudyState(trials, float(attrs.get("seconds", 0.0)), last)

    def add(self, trial: TrialState, values: Mapping[str, Any]) -> None:
        """Writes a new trial in one transaction and sets its number. `values` are those of its active parameters."""
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
            "identity": identity(trial),
            **({"outside": outside} if outside else {}),
        }
        template = create_trial(state=OptunaState.RUNNING, params=params, distributions=distributions, user_attrs=attrs)
        trial_id = retried(lambda: self._created(template))
        trial.number = self._number(trial_id)
        self._ids[trial.number] = trial_id
        self._states[trial.number] = OptunaState.RUNNING
        if trial.trial_id != attrs["trial_id"]:  # someone else wrote to the study
            self._write(trial, Change(attrs={"trial_id": trial.trial_id}))

    def _number(self, trial_id: int) -> int:
        """The number of a new trial: the next one where its id is the next one, because no trial is ever removed."""
        last = max(self._ids, default=-1)
        if self._ids.get(last) == trial_id - 1:
            return last + 1
        return retried(lambda: self._storage.get_trial_number_from_id(trial_id))

    def _created(self, template: FrozenTrial) -> int:
        """Creates a trial; where the answer to an earlier try was lost, uses the trial that this try has created."""
        if self._creating:
            known = set(self._ids.values())
            there = retried(lambda: self._storage.get_all_trials(self._study_id, deepcopy=False))
            mine = [frozen._trial_id for frozen in there if frozen._trial_id not in known]
            if mine:
                self._creating = False
                return mine[0]
        self._creating = True
        trial_id = self._writer.create(self._study_id, template)
        self._creating = False
        return trial_id

    def evaluated(self, trial: TrialState, *epochs: int) -> None:
        """Writes the values of epochs; the rest of each evaluation is written with the trial's next decision.

        A kill in between loses nothing: an epoch without its loss is reported again from the checkpoint.
        """
        self._write(trial, Change(values={epoch: trial.evaluations[epoch].value for epoch in epochs}))

    def decided(self, trial: TrialState) -> None:
        """Writes a trial's status with its reason, and its whole state, in one transaction."""
        attrs: dict[str, Any] = {}
        known = kept(trial)
        if known != self._written.get(trial.number):
            self._written[trial.number] = attrs["kept"] = known
        attrs["reason"] = trial.reason
        if trial.rung != self._rungs.get(trial.number, 1):  # for users of the dashboard
            self._rungs[trial.number] = attrs["rung"] = trial.rung
        state = STATES[trial.status]
        if state is self._states.get(trial.number):
            self._write(trial, Change(attrs=attrs))
            return
        self._states[trial.number] = state
        told = state in (OptunaState.COMPLETE, OptunaState.PRUNED)
        self._write(trial, Change(attrs=attrs, state=state, value=trial.value if told else None))
        if trial.is_final:
            self._written.pop(trial.number)

    def _write(self, trial: TrialState, change: Change) -> None:
        trial_id = self._ids[trial.number]
        retried(lambda: self._writer.write(trial_id, change))

    def dropped(self, trial: TrialState) -> None:
        """Writes that a trial's checkpoints are deleted: in the study, because finished trials cannot be changed."""
        self._dropped.add(trial.number)
        numbers = sorted(self._dropped)
        retried(lambda: self._storage.set_study_user_attr(self._study_id, "dropped", numbers))

    def spent(self, seconds: float) -> None:
        """Writes how long the study has run in all calls."""
        retried(lambda: self._storage.set_study_user_attr(self._study_id, "seconds", round(seconds, 1)))

    def attach(self, artifact_ids: Mapping[int, str], about: Mapping[str, Any]) -> None:
        """Shows files with trials in the dashboard: trial number → the artifact's name. They are attributes of the
        study, because finished trials cannot be changed; what is already there is not written again."""
        there = retried(lambda: self._storage.get_study_system_attrs(self._study_id))
        frozen = retried(lambda: self._storage.get_all_trials(self._study_id, deepcopy=False))
        ids = {trial.number: trial._trial_id for trial in frozen}
        for number, artifact_id in artifact_ids.items():
            key = f"dashboard:artifacts:{ids[number]}:{artifact_id}"
            value = json.dumps({"artifact_id": artifact_id, **about})
            if there.get(key) != value:
                retried(lambda k=key, v=value: self._storage.set_study_system_attr(self._study_id, k, v))  # type: ignore[misc]

    def annotate(self, text: str, signature: str) -> None:
        """Writes the study's note in the dashboard, unless there is one without the signature, written by a person."""
        from optuna_dashboard import get_note, save_note  # takes its time to import

        name = retried(lambda: self._storage.get_study_name_from_id(self._study_id))
        study = retried(lambda: optuna.load_study(study_name=name, storage=self._storage))
        there = retried(lambda: get_note(study))
        if there != text and (not there or signature in there):
            retried(lambda: save_note(study, text))
