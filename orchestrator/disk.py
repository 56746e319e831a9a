"""Checkpoints of trials that are over, kept within the study's limit: best first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.plan import Plan
from orchestrator.state import FAILED, StudyState, TrialState


class CheckpointKeeper:
    """Deletes what is least likely to be wanted again: never the best trial's, a running or a promoted run's."""

    def __init__(self, plan: Plan) -> None:
        self.limit_bytes = plan.limits.max_checkpoint_gb * 1e9
        self.folder = plan.folder / "trials"
        self.maximize = plan.metric.direction == "maximize"
        self._sizes: dict[int, int] = {}

    def trim(self, state: StudyState) -> list[TrialState]:
        """Brings the folder under the limit; returns the trials that lost their checkpoints."""
        over = [trial for trial in self.expendable(state) if trial.checkpoint]
        for trial in state.in_order():
            if trial.is_final and trial.origin is None and trial.number not in self._sizes:
                self._sizes[trial.number] = checkpoint_bytes(self._files(trial))
        total = sum(self._sizes.values())
        dropped = []
        for trial in over:
            if total <= self.limit_bytes:
                break
            for path in self._files(trial):
                path.unlink(missing_ok=True)
            total -= self._sizes[trial.number]
            self._sizes[trial.number] = 0
            for other in state.in_order():
                if trial.number in (other.number, other.origin):
                    other.checkpoint = ""
            dropped.append(trial)
        return dropped

    def expendable(self, state: StudyState) -> list[TrialState]:
        """Final trials in the order in which they go: pruned before completed, worst first, failed (which may
        be retried) after them; the best never."""
        best = {trial.number for trial in state.ranked(self.maximize)[:1]}
        final = [t for t in state.in_order() if t.is_final and t.origin is None and t.number not in best]
        sign = 1.0 if self.maximize else -1.0
        order = {"pruned": 0, "completed": 1, FAILED: 2}
        return sorted(final, key=lambda t: (order[t.status], t.rung, sign * (t.value or 0.0), t.number))

    def _files(self, trial: TrialState) -> list[Path]:
        return sorted((self.folder / f"{trial.trial_id:04d}" / "checkpoints").glob("*.pth"))


def checkpoint_bytes(files: Sequence[Path]) -> int:
    """Room that files take; two names of one file (a checkpoint that is last and best) count once."""
    stats = {(s.st_dev, s.st_ino): s.st_size for s in (path.stat() for path in files)}
    return sum(stats.values())
