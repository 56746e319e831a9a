"""One of Optuna's pruners over a mirror of the study.

Optuna's own classes decide; they are fed in one place, on an in-memory study that mirrors the real one, so that
asking costs no database access and never disturbs what is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.planning.settings import PRUNERS


class PrunerOracle:
    """Trials are told in the order of their numbers. The mirror's name is fixed: Hyperband's brackets hang on it.

    `remembers`: the pruner keeps marks of its own on the trials when it is asked, so that a mirror that is built
    anew has to be asked again after each evaluation.
    """

    def __init__(self, settings: Mapping[str, Any], maximize: bool) -> None:
        import optuna
        from optuna.storages import InMemoryStorage
        from optuna.study import StudyDirection

        kind = PRUNERS[settings["name"]]
        assert kind.make is not None, "only Optuna's pruners are asked here"
        self._pruner = kind.make(settings)
        self.remembers = kind.remembers
        self._storage = InMemoryStorage()
        direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
        self._study = optuna.create_study(storage=self._storage, study_name="mirror", direction=direction)
        self._ids: dict[int, int] = {}

    def value(self, number: int, epoch: int, value: float) -> None:
        """An evaluation of trial `number`; the first one opens its mirror."""
        import optuna

        if number not in self._ids:
            running = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
            self._ids[number] = self._storage.create_new_trial(self._study._study_id, running)
        self._storage.set_trial_intermediate_value(self._ids[number], epoch, value)

    def completed(self, number: int, value: float) -> None:
        self._finish(number, "COMPLETE", [value])

    def dropped(self, number: int) -> None:
        """Pruned or failed: no longer running, and nothing to compare with."""
        self._finish(number, "PRUNED", None)

    def _finish(self, number: int, state: str, values: list[float] | None) -> None:
        from optuna.trial import TrialState

        if number in self._ids:
            self._storage.set_trial_state_values(self._ids[number], TrialState[state], values)

    def should_prune(self, number: int) -> bool:
        """What the pruner says after the trial's newest evaluation."""
        return self._pruner.prune(self._study, self._storage.get_trial(self._ids[number]))
