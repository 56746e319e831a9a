"""The shadow study: an Optuna study in memory that shows the state of the real study to a sampler.

Samplers never read the real study, where a paused trial is WAITING: here it has its result at a lower rung. Here a
trial may also change its state more than once, which none of Optuna's storages allows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NoReturn

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from orchestrator.study.space import Space, distribution, optuna_value
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, RUNNING, TrialState
from trainer.api import Metric

_STUDY_ID, _NAME = 0, "shadow"


class ShadowStorage(BaseStorage):
    """Contains the `known` trials and, after them, the one that is being asked for. Ids are trial numbers."""

    def __init__(self, direction: StudyDirection) -> None:
        self.direction = direction
        self.known: list[FrozenTrial] = []
        self.asked: FrozenTrial | None = None

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        number = len(self.known)
        self.asked = _frozen(number, OptunaState.RUNNING, {}, {})
        return number

    def get_trial(self, trial_id: int) -> FrozenTrial:
        if self.asked is not None and trial_id == self.asked.number:
            return self.asked
        return self.known[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[OptunaState] | None = None
    ) -> list[FrozenTrial]:
        trials = [*self.known, *([self.asked] if self.asked is not None else [])]
        chosen = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        trial = self.get_trial(trial_id)
        trial.distributions[param_name] = distribution
        trial.params[param_name] = distribution.to_external_repr(param_value_internal)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.get_trial(trial_id).user_attrs[key] = value

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.get_trial(trial_id).system_attrs[key] = value

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return _STUDY_ID

    def get_study_id_from_name(self, study_name: str) -> int:
        return _STUDY_ID

    def get_study_name_from_id(self, study_id: int) -> str:
        return _NAME

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return [self.direction]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_all_studies(self) -> list[FrozenStudy]:
        return []

    def _refuse(self, *_arguments: Any, **_named: Any) -> NoReturn:
        raise NotImplementedError("a sampler only asks for a trial; it writes no results")

    set_study_user_attr = set_study_system_attr = delete_study = _refuse
    set_trial_state_values = set_trial_intermediate_value = _refuse


class ShadowStudy:
    """The study for a sampler. `values_of` returns a trial's value for every searched key that is active in it.

    With `as_completed` (for samplers that use only completed trials) paused and pruned trials are shown as COMPLETE,
    with their value at one common rung that has `enough` results, and failed ones with the worst value. Otherwise
    paused and pruned trials are shown as PRUNED at their last step.
    """

    def __init__(
        self,
        space: Space,
        metric: Metric,
        values_of: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        as_completed: bool,
        enough: int,
    ) -> None:
        self._space, self._metric, self._values_of = space, metric, values_of
        self._as_completed, self._enough = as_completed, enough
        direction = StudyDirection[metric.direction.upper()]
        self.distributions = {dimension.key: distribution(dimension.shape) for dimension in space}
        self._storage = ShadowStorage(direction)
        self.study = optuna.create_study(storage=self._storage, study_name=_NAME, direction=direction)
        self._seen: list[tuple[Any, ...]] = []

    def show(self, state: StudyState) -> None:
        """Updates the shadow; for an unchanged trial this costs one comparison."""
        self._storage.asked = None
        rung = self._common_rung(state) if self._as_completed else 0
        worst = self._worst(state) if self._as_completed else 0.0
        for number in range(len(state.trials)):
            trial = state.trials[number]
            mark = (trial.status, trial.epochs, trial.value, rung, worst if trial.status == FAILED else 0.0)
            if number == len(self._seen):
                params = self._params(trial.overrides)
                names = {key: self.distributions[key] for key in params}
                self._storage.known.append(_frozen(number, OptunaState.RUNNING, params, names))
                self._seen.append(())
            if mark != self._seen[number]:
                self._seen[number] = mark
                if self._as_completed:
                    self._show_completed(self._storage.known[number], trial, rung, worst)
                else:
                    self._show_pruned(self._storage.known[number], trial)

    def _params(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """The searched keys of a trial whose values are inside the space, as Optuna stores them."""
        values = self._values_of(overrides)
        params = {}
        for dimension in self._space:
            if dimension.key in values:
                fits, stored = optuna_value(dimension.shape, values[dimension.key])
                if fits:
                    params[dimension.key] = stored
        return params

    def _show_pruned(self, shown: FrozenTrial, trial: TrialState) -> None:
        shown.intermediate_values = {} if trial.status == FAILED else dict(trial.values)
        if trial.status == COMPLETED and trial.value is not None:
            shown.state, shown.value = OptunaState.COMPLETE, trial.value
        elif trial.status == RUNNING or not (trial.evaluations or trial.is_final):
            shown.state = OptunaState.RUNNING
        else:
            shown.state = OptunaState.PRUNED

    def _show_completed(self, shown: FrozenTrial, trial: TrialState, rung: int, worst: float) -> None:
        value = worst if trial.status == FAILED else trial.results.get(rung)
        if value is None and rung == 1 and trial.is_final:
            value = trial.value  # pruned before the first rung: its last evaluation
        if value is not None:
            shown.state, shown.value = OptunaState.COMPLETE, value
        elif trial.status == RUNNING:
            shown.state, shown.value = OptunaState.RUNNING, None
        else:
            shown.state, shown.value = OptunaState.PRUNED, None

    def _common_rung(self, state: StudyState) -> int:
        """The highest rung with enough results; the first where no rung has."""
        highest = max((trial.reached for trial in state.trials.values()), default=1)
        for rung in range(highest, 1, -1):
            if sum(rung in trial.results for trial in state.trials.values()) >= self._enough:
                return rung
        return 1

    def _worst(self, state: StudyState) -> float:
        values = (one.value for trial in state.trials.values() for one in trial.evaluations.values())
        return max(values, key=self._metric.key, default=0.0)


def _frozen(
    number: int, state: OptunaState, params: dict[str, Any], distributions: dict[str, BaseDistribution]
) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        state=state,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params=params,
        distributions=distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=number,
    )
