"""The ledger of a stage: what happens to trials, in memory, in the study and in the log, in this order.

The driver says what happened; here it becomes a change of a trial's state, one line with its reason, and a record.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.engine.checkpoint_quota import CheckpointKeeper
from orchestrator.engine.stage import Stage, inside
from orchestrator.engine.watcher import Watcher
from orchestrator.policies.policy import Climb, climb, decide
from orchestrator.results.trust import Doubt
from orchestrator.study.state import FAILED, PAUSED, PRUNED, RUNNING, TrialState
from trainer.api import Evaluation, Outcome


@dataclass
class Ledger:
    """Keeps one stage's books; `keeper` brings the checkpoints of trials that rest under the study's limit."""

    stage: Stage
    watcher: Watcher
    keeper: CheckpointKeeper | None = None
    _unjudged: set[int] = field(default_factory=set)
    _doubt: Doubt = field(init=False)

    def __post_init__(self) -> None:
        self._doubt = Doubt(self.stage.plan)

    def open(self, index: int | None) -> TrialState | None:
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
        self.stage.study.add(trial, self.stage.plan.values_of(trial.overrides))
        state.trials[trial.number] = trial
        if trial.failure_kind:
            self.failed(trial, trial.failure_kind, trial.failure_line)
        elif origin is not None:
            self.take_over(trial, origin)
        else:
            self.watcher.changed(self.stage, trial, final=False)
        return trial

    def take_over(self, trial: TrialState, origin: TrialState) -> None:
        """Gives a duplicate its original's result, as it stands now."""
        trial.take_result(origin)
        words = f"{trial.status}: the same configuration as trial {origin.trial_id}"
        self._record(trial, f"{trial.label} {words}")

    def goes_on(self, trial: TrialState) -> None:
        """A trial that was interrupted between rungs is taken up again."""
        trial.status = RUNNING
        self._record(trial, f"{trial.label} goes on after epoch {trial.epochs}")

    def climbs(self, step: Climb) -> None:
        """A rested trial is taken up to its next rung."""
        trial = self.stage.state.trials[step.number]
        climb(trial)
        self._record(trial, f"{trial.label} {step.reason}")

    def evaluated(
        self, trial: TrialState, evaluation: Evaluation, slot: str, ended_at: float, opening: float = 0.0
    ) -> None:
        """An evaluation came from `slot`, `ended_at` seconds after the study began; `opening` the trial took before."""
        if evaluation.epoch in trial.values:
            return
        if trial.number in self._unjudged:  # several at once, which a checkpoint told: the earlier were judged before
            self.stage.policy.recall(trial)
        self._unjudged.add(trial.number)
        trial.values[evaluation.epoch] = evaluation.value
        trial.losses[evaluation.epoch] = evaluation.metrics["val_loss"]
        trial.slots[evaluation.epoch], trial.ended[evaluation.epoch] = slot, round(ended_at, 2)
        parts = (opening, evaluation.evaluation_seconds, evaluation.checkpoint_seconds)
        trial.parts[evaluation.epoch] = [round(part, 3) for part in parts]
        trial.step = evaluation.step
        trial.seconds += evaluation.seconds
        self.stage.policy.learn(trial, evaluation.epoch, evaluation.value)
        self.stage.study.evaluated(trial, evaluation.epoch)
        self.watcher.changed(self.stage, trial, final=False)

    def ended(self, trial: TrialState, outcome: Outcome) -> None:
        """A slice came to its end."""
        trial.checkpoint = inside(outcome.checkpoint, self.stage.plan.folder)
        trial.device = f"{outcome.device}, {outcome.precision}"
        if outcome.ending != "interrupted":  # then its checkpoint stands; the policy takes it up again
            self.judge(trial, _why_ended(outcome, trial, self.stage.epochs(trial)))

    def judge(self, trial: TrialState, stopped_because: str = "") -> None:
        stage = self.stage
        verdict = decide(stage.policy, trial, stage.state, stage.rungs, stopped_because)
        self._unjudged.discard(trial.number)
        if not verdict.reason:
            return
        warning = self._doubt.about(trial, stage.state) if stage.noun == "trial" else ""
        if warning:
            self.watcher.line(warning)
        status = "" if verdict.action in ("go_on", "climb") else f"{trial.status} "
        self._record(trial, f"{trial.label} {status}{verdict.reason}")

    def pauses(self, why: str) -> None:
        """What is under way rests until the next call."""
        for trial in self.stage.state.with_status(RUNNING):
            if trial.origin is None:
                trial.status = PAUSED
                self._record(trial, f"{trial.label} paused after epoch {trial.epochs}: {why}")

    def wasted(self, trial: TrialState, slot: str, begin: float, end: float, kind: str) -> None:
        """Between two times a slot worked on a trial for nothing; it is written with what becomes of the trial."""
        # A list of its own: the one before may be what was written last, and is compared with.
        trial.wasted = [*trial.wasted, [slot, round(begin, 2), round(end, 2), kind]]

    def retries(self, trial: TrialState, line: str) -> None:
        """A slice was lost with its process and is tried again."""
        trial.retries += 1
        self._record(trial, f"{trial.label} {line}")

    def failed(self, trial: TrialState, kind: str, line: str) -> None:
        trial.status, trial.failure_kind, trial.failure_line = FAILED, kind, line
        trial.values = {**trial.untold, **trial.values}  # nothing will tell them again
        self._record(trial, f"{trial.label} {trial.failure_words}")
        self.stage.policy.closed(trial)

    def _record(self, trial: TrialState, line: str) -> None:
        """One line for every change of a trial's state: in the log, in the study, in the CSV."""
        state = self.stage.state
        state.decide(trial, line)
        self.stage.study.decided(trial)
        self.watcher.line(line)
        self.watcher.changed(self.stage, trial, final=trial.is_final)
        for copy in state.duplicates(trial):
            if not copy.is_final and (copy.status, copy.rung) != (trial.status, trial.rung):
                self.take_over(copy, trial)
        if self.keeper is not None and (trial.is_final or trial.status == PAUSED):
            self._trim(self.keeper)

    def _trim(self, keeper: CheckpointKeeper) -> None:
        """Deletes checkpoints beyond the limit; a rested trial that loses its own cannot go on."""
        for trial in keeper.trim(self.stage.state):
            self.stage.study.dropped(trial)
            self.watcher.line(f"checkpoints of {trial.label} deleted (--max-checkpoint-gb)")
            if trial.status == PAUSED:
                trial.status = PRUNED
                self._record(trial, f"{trial.label} pruned at rung {trial.rung}: its checkpoint had to make room")
                self.stage.policy.closed(trial)


def _why_ended(outcome: Outcome, trial: TrialState, epochs: int) -> str:
    """Why a run came to its end before its last epoch; empty where it did not."""
    if outcome.ending == "early":
        return outcome.reason
    return "training.max_iter was reached" if outcome.ending == "finished" and trial.epochs < epochs else ""
