"""The ledger of a stage: the only writer of its trials.

Whoever knows that something happened to a trial (the driver, `retry`, `close`) says so here. It becomes a change of the
trial's state, one line with its reason, and a record in the study, in this order.

    asked ──opens──► running ──────pauses──────► paused
                      │   ▲                        │  │
                      │   └──resumes, climbs───────┘  │ the study is closed, or
                      │                               │ its checkpoint has to make room
                      ├──► completed                  ▼
                      ├──► pruned ◄───────────────────┘
                      └──► failed ──is retried──► a new trial, paused with copies of its checkpoints
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.engine.checkpoint_quota import CheckpointKeeper
from orchestrator.engine.stage import Stage
from orchestrator.engine.watcher import Watcher
from orchestrator.policies.policy import Climb, climb, decide
from orchestrator.results.doubt import Doubt
from orchestrator.storage.optuna_study import OptunaStudy
from orchestrator.study.trial import FAILED, PAUSED, PRUNED, RUNNING, Evaluated, TrialState
from trainer.api import Evaluation, Outcome


@dataclass
class Ledger:
    """Keeps one stage's books; `keeper` holds the checkpoints of trials that rest within the study's limit."""

    stage: Stage
    study: OptunaStudy
    watcher: Watcher
    keeper: CheckpointKeeper | None = None
    _doubt: Doubt = field(init=False)

    def __post_init__(self) -> None:
        self._doubt = Doubt(self.stage.plan)

    def opens(self, index: int | None) -> TrialState | None:
        """Opens a trial; one whose configuration is known takes the earlier result. None: nothing left to propose."""
        state = self.stage.state
        trial = self.stage.new_trial(index)
        if trial is None:
            state.exhausted = True
            self.watcher.line("the search space is exhausted: no configuration is left to propose")
            return None
        origin = state.original(trial.config_key)
        if origin is not None:
            trial.origin = origin.number
        self.adds(trial)
        if trial.failure_kind:
            self.fails(trial, trial.failure_kind, trial.failure_line)
        elif origin is not None:
            self.takes_over(trial, origin)
        else:
            self.watcher.changed(self.stage, trial, final=False)
        return trial

    def adds(self, trial: TrialState) -> None:
        """Writes a new trial, which gets its number."""
        self.study.add(trial, self.stage.plan.values_of(trial.overrides))
        self.stage.state.trials[trial.number] = trial

    def takes_over(self, trial: TrialState, origin: TrialState) -> None:
        """Gives a duplicate its original's result, as it is now."""
        trial.take_result(origin)
        reason = f"{trial.status}: the same configuration as trial {origin.trial_id}"
        self._record(trial, f"{trial.label} {reason}")

    def retries(self, old: TrialState, new: TrialState, from_checkpoint: bool) -> None:
        """A failed trial is tried again as a new one; what its checkpoints hold, if it has any, is known already."""
        new.status = PAUSED
        if from_checkpoint:
            new.rung, new.step, new.spared, new.results = old.rung, old.step, dict(old.spared), dict(old.results)
            # A promoted run stands once in reports, as its retry; a trial of the search beside it, with its own time.
            known = (one if new.source_trial else one.untimed() for one in old.evaluations.values())
            new.evaluations = {one.epoch: one for one in known}
            self.study.evaluated(new, *new.evaluations)
        if new.source_trial:
            reason = f"{new.label} is tried again: it failed ({old.failure_kind})"
        else:
            reason = f"trial {new.trial_id} tries trial {old.trial_id} again, which failed ({old.failure_kind})"
        self._record(new, reason)

    def resumes(self, trial: TrialState) -> None:
        """A trial that was interrupted between rungs continues."""
        trial.status = RUNNING
        self._record(trial, f"{trial.label} goes on after epoch {trial.epochs}")

    def climbs(self, step: Climb) -> None:
        """A paused trial is resumed on its next rung."""
        trial = self.stage.state.trials[step.number]
        climb(trial)
        self._record(trial, f"{trial.label} {step.reason}")

    def evaluated(
        self, trial: TrialState, evaluation: Evaluation, slot: str, ended_at: float, opening: float = 0.0
    ) -> None:
        """An evaluation came from `slot`, `ended_at` seconds after the study began; `opening` the trial took before."""
        if evaluation.epoch in trial.evaluations:
            return
        parts = (opening, evaluation.evaluation_seconds, evaluation.checkpoint_seconds)
        trial.add(
            Evaluated(
                evaluation.epoch, evaluation.value, evaluation.metrics["val_loss"], slot, round(ended_at, 2),
                *(round(part, 3) for part in parts),
            )
        )  # fmt: skip
        trial.step = evaluation.step
        trial.seconds += evaluation.seconds
        self.study.evaluated(trial, evaluation.epoch)
        self.watcher.changed(self.stage, trial, final=False)

    def ends(self, trial: TrialState, outcome: Outcome) -> None:
        """A slice came to its end."""
        trial.checkpoint = self.stage.plan.files.relative(outcome.checkpoint)
        trial.device = f"{outcome.device}, {outcome.precision}"
        if outcome.ending != "interrupted":  # then its checkpoint is there; the policy resumes it
            self.judges(trial, _why_ended(outcome, trial, self.stage.until_epoch(trial)))

    def judges(self, trial: TrialState, stopped_because: str = "") -> None:
        """Asks the policy what becomes of a trial after its newest evaluation."""
        stage = self.stage
        verdict = decide(stage.policy, trial, stage.state, stage.rungs, stopped_because)
        if not verdict.reason:
            return
        warning = self._doubt.about(trial, stage.state) if stage.kind == "search" else ""
        if warning:
            self.watcher.line(warning)
        status = "" if verdict.action in ("go_on", "climb") else f"{trial.status} "
        self._record(trial, f"{trial.label} {status}{verdict.reason}")

    def pauses_all(self, why: str) -> None:
        """What runs is paused until the next call."""
        for trial in self.stage.state.with_status(RUNNING):
            if trial.origin is None:
                trial.status = PAUSED
                self._record(trial, f"{trial.label} paused after epoch {trial.epochs}: {why}")

    def closes_all(self) -> None:
        """The study is closed: what could continue is pruned."""
        for trial in self.stage.state.with_status(PAUSED, RUNNING):
            trial.status = PRUNED
            trial.keep_untold()
            self._record(trial, f"{trial.label} pruned after epoch {trial.epochs}: the study was closed")

    def wastes(self, trial: TrialState, slot: str, begin: float, end: float, kind: str) -> None:
        """Between two times a slot worked on a trial for nothing; it is written with the trial's next change."""
        # A list of its own: the one before may be what was written last, and is compared with.
        trial.wasted = [*trial.wasted, [slot, round(begin, 2), round(end, 2), kind]]

    def tries_again(self, trial: TrialState, line: str) -> None:
        """A slice was lost with its process and is tried again."""
        trial.retries += 1
        self._record(trial, f"{trial.label} {line}")

    def fails(self, trial: TrialState, kind: str, line: str) -> None:
        trial.status, trial.failure_kind, trial.failure_line = FAILED, kind, line
        trial.keep_untold()
        self._record(trial, f"{trial.label} {trial.failure_words}")

    def spends(self, seconds: float) -> None:
        """How long the study has run over all calls."""
        self.study.spent(seconds)

    def shows(self, artifact_ids: Mapping[int, str], about: Mapping[str, Any]) -> None:
        """Files to show with trials in the dashboard."""
        self.study.attach(artifact_ids, about)

    def notes(self, text: str, signature: str) -> None:
        """The study's note in the dashboard."""
        self.study.annotate(text, signature)

    def _record(self, trial: TrialState, line: str) -> None:
        """One line for every change of a trial's state: in the log, in the study, in the CSV."""
        state = self.stage.state
        state.decide(trial, line)
        self.study.decided(trial)
        self.watcher.line(line)
        self.watcher.changed(self.stage, trial, final=trial.is_final)
        for copy in state.duplicates(trial):
            if not copy.is_final and (copy.status, copy.rung) != (trial.status, trial.rung):
                self.takes_over(copy, trial)
        if self.keeper is not None and (trial.is_final or trial.status == PAUSED):
            self._trim(self.keeper)

    def _trim(self, keeper: CheckpointKeeper) -> None:
        """Deletes checkpoints beyond the limit; a paused trial that loses its own cannot continue."""
        for trial in keeper.trim(self.stage.state):
            self.study.dropped(trial)
            self.watcher.line(f"checkpoints of {trial.label} deleted (--max-checkpoint-gb)")
            if trial.status == PAUSED:
                trial.status = PRUNED
                self._record(trial, f"{trial.label} pruned at rung {trial.rung}: its checkpoint had to make room")


def _why_ended(outcome: Outcome, trial: TrialState, epochs: int) -> str:
    """Why a run came to its end before its last epoch; empty where it did not."""
    if outcome.ending == "early":
        return outcome.reason
    return "training.max_iter was reached" if outcome.ending == "finished" and trial.epochs < epochs else ""
