"""Checkpoints of trials that are over or rest, kept within the study's limit: most likely to go on first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.study.plan import Plan
from orchestrator.study.ranking import ranked
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, TrialState


class CheckpointKeeper:
    """Deletes what is least likely to be wanted again: never the best trial's, a running or a promoted run's."""

    def __init__(self, plan: Plan) -> None:
        self.limit_bytes = plan.limits.max_checkpoint_gb * 1e9
        self.files, self.metric = plan.files, plan.metric
        self._sizes: dict[int, tuple[int, int]] = {}  # bytes, and after which epoch they were counted

    def trim(self, state: StudyState) -> list[TrialState]:
        """Brings the folder under the limit; returns the trials that lost their checkpoints."""
        over = [trial for trial in self.expendable(state) if trial.checkpoint]
        for trial in state.in_order():
            # A trial that climbs writes larger files, or more of them.
            settled = self._sizes.get(trial.number, (0, -1))[1] == trial.epochs
            if (trial.is_final or trial.status == PAUSED) and trial.origin is None and not settled:
                self._sizes[trial.number] = (checkpoint_bytes(self._files(trial)), trial.epochs)
        total = sum(size for size, _ in self._sizes.values())
        dropped = []
        for trial in over:
            if total <= self.limit_bytes:
                break
            for path in self._files(trial):
                path.unlink(missing_ok=True)
            total -= self._sizes[trial.number][0]
            self._sizes[trial.number] = (0, trial.epochs)
            for other in state.in_order():
                if trial.number in (other.number, other.origin):
                    other.checkpoint = ""
            dropped.append(trial)
        return dropped

    def expendable(self, state: StudyState) -> list[TrialState]:
        """Trials in the order in which their checkpoints go: pruned ones, then completed ones, failed ones (which
        may be retried), and those that rest and may go on; the lowest rung and the worst first, the best never."""
        best = {trial.number for trial in ranked(state, self.metric)[:1]}
        able = [t for t in state.in_order() if t.origin is None and t.number not in best]
        order = {PRUNED: 0, COMPLETED: 1, FAILED: 2, PAUSED: 3}
        able = [t for t in able if t.status in order and (t.status != PAUSED or t.rung in t.results)]
        return sorted(able, key=lambda t: (order[t.status], t.rung, -self.metric.key(t.value or 0.0), t.number))

    def _files(self, trial: TrialState) -> list[Path]:
        return self.files.run(trial).checkpoint_files()


def checkpoint_bytes(files: Sequence[Path]) -> int:
    """Room that files take; two names of one file (a checkpoint that is last and best) count once."""
    stats = {(s.st_dev, s.st_ino): s.st_size for s in (path.stat() for path in files)}
    return sum(stats.values())
