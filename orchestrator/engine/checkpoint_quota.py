"""The limit on the disk space of checkpoints: those of finished and paused trials are deleted, least useful first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.study.plan import Plan
from orchestrator.study.ranking import ranked
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, TrialState


class CheckpointKeeper:
    """Deletes checkpoints above the limit; never those of the best trial, of a running trial or of a promoted run."""

    def __init__(self, plan: Plan) -> None:
        self.limit_bytes = plan.limits.max_checkpoint_gb * 1e9
        self.files, self.metric = plan.files, plan.metric
        self._sizes: dict[int, tuple[int, int]] = {}  # by trial: bytes, and the epoch after which they were counted

    def trim(self, state: StudyState) -> list[TrialState]:
        """Brings the folder under the limit; returns the trials that lost their checkpoints."""
        over = [trial for trial in self.expendable(state) if trial.checkpoint]
        for trial in state.in_order():
            # Counted again after more epochs: there may be more or larger files.
            counted = self._sizes.get(trial.number, (0, -1))[1] == trial.epochs
            if (trial.is_final or trial.status == PAUSED) and trial.origin is None and not counted:
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
        """Trials in the order in which their checkpoints are deleted: pruned, completed, failed (which may be retried),
        then paused (which may continue); of these the lowest rung and the worst value first; never the best trial."""
        best = {trial.number for trial in ranked(state, self.metric)[:1]}
        able = [t for t in state.in_order() if t.origin is None and t.number not in best]
        order = {PRUNED: 0, COMPLETED: 1, FAILED: 2, PAUSED: 3}
        able = [t for t in able if t.status in order and (t.status != PAUSED or t.rung in t.results)]
        return sorted(able, key=lambda t: (order[t.status], t.rung, -self.metric.key(t.value or 0.0), t.number))

    def _files(self, trial: TrialState) -> list[Path]:
        return self.files.run(trial).checkpoint_files()


def checkpoint_bytes(files: Sequence[Path]) -> int:
    """The size of files; two names of one file (a checkpoint that is both the last and the best) count once."""
    stats = {(s.st_dev, s.st_ino): s.st_size for s in (path.stat() for path in files)}
    return sum(stats.values())
