"""The study as a sampler sees it: an Optuna study in memory, shown for each proposal what the state knows.

Samplers never see the real study, where a paused trial is WAITING: here it is what it is, a result at a lower
rung. A trial may change its state here as often as it does in truth, which none of Optuna's storages allows.
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
    """Holds `known` trials, and the one that is being asked for after them. Ids are numbers."""

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

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> NoReturn:
        _refuse()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> NoReturn:
        _refuse()

    def delete_study(self, study_id: int) -> NoReturn:
        _refuse()

    def set_trial_state_values(
        self, trial_id: int, state: OptunaState, values: Sequence[float] | None = None
    ) -> NoReturn:
        _refuse()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> NoReturn:
        _refuse()


def _refuse() -> NoReturn:
    raise NotImplementedError("a sampler asks; it tells nothing")


class ShadowStudy:
    """What a sampler is shown. `values_of` gives a trial's value for every searched key that is active in it.

    `as_completed` shows rested and pruned trials as COMPLETE with their value at one common rung (for samplers that
    know nothing else), otherwise as PRUNED at their last step. Failed ones are shown as the worst.
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
        """Brings the shadow up to date; a trial that did not change costs a comparison."""
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
        """The searched keys of a trial that lie inside the space, as Optuna stores them."""
        values = self._values_of(overrides)
        found = {}
        for dimension in self._space:
            if dimension.key in values:
                fits, stored = optuna_value(dimension.shape, values[dimension.key])
                if fits:
                    found[dimension.key] = stored
        return found

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
            value = trial.value  # pruned on its way to the only rung that counts: its last evaluation there
        if value is not None:
            shown.state, shown.value = OptunaState.COMPLETE, value
        elif trial.status == RUNNING:
            shown.state, shown.value = OptunaState.RUNNING, None
        else:
            shown.state, shown.value = OptunaState.PRUNED, None

    def _common_rung(self, state: StudyState) -> int:
        """The highest rung with enough results; the first where none has."""
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
