"""One of Optuna's pruners over a mirror of the study.

Optuna's own classes decide. They look at an in-memory study that mirrors the state, so that asking costs no database
access and never disturbs what is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, PRUNED, TrialState
from trainer.api import Metric

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class PrunerMirror:
    """Trials have their own numbers. The mirror's name is fixed, because Hyperband's brackets depend on it.

    Some pruners leave marks on a trial when they are asked about it. So each is asked once about every evaluation that
    is followed by another one: first those of an earlier call, in the order of the trials' numbers.
    """

    def __init__(self, pruner: BasePruner, metric: Metric) -> None:
        import optuna
        from optuna.storages import InMemoryStorage

        self._pruner = pruner
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, study_name="mirror", direction=metric.direction)
        self._ids: dict[int, int] = {}
        self._shown: dict[int, int] = {}  # by trial: its last epoch that the mirror holds
        self._answers: dict[int, tuple[int, bool]] = {}  # the last epoch asked about, and the answer
        self._closed: set[int] = set()

    def should_prune(self, trial: TrialState, state: StudyState) -> bool:
        """What the pruner says after the trial's newest evaluation."""
        for other in state.in_order():
            if other.number not in self._closed:
                self._show(other)
        return self._ask(trial.number)

    def _show(self, trial: TrialState) -> None:
        number = trial.number
        if number not in self._ids:
            self._open(number)
        shown = self._shown.get(number, 0)
        if trial.origin is None and trial.epochs > shown:
            for epoch, one in trial.evaluations.items():
                if epoch > shown:
                    if number in self._shown:
                        self._ask(number)
                    self._storage.set_trial_intermediate_value(self._ids[number], epoch, one.value)
                    self._shown[number] = epoch
        if trial.is_final:
            self._close(trial)

    def _ask(self, number: int) -> bool:
        epoch, answer = self._answers.get(number, (0, False))
        if epoch < self._shown[number]:
            answer = self._pruner.prune(self._study, self._storage.get_trial(self._ids[number]))
            self._answers[number] = self._shown[number], answer
        return answer

    def _open(self, number: int) -> None:
        import optuna

        running = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
        self._ids[number] = self._storage.create_new_trial(self._study._study_id, running)

    def _close(self, trial: TrialState) -> None:
        """Only completed trials are compared with later; a duplicate is none."""
        from optuna.trial import TrialState as OptunaState

        if trial.number in self._shown and trial.status == PRUNED and not trial.results:
            self._ask(trial.number)  # the answer that pruned it
        compared = trial.status == COMPLETED and trial.origin is None and trial.value is not None
        state, values = (OptunaState.COMPLETE, [trial.value]) if compared else (OptunaState.PRUNED, None)
        self._storage.set_trial_state_values(self._ids[trial.number], state, values)  # type: ignore[arg-type]
        self._closed.add(trial.number)
