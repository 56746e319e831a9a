"""All trials of a study, in memory: plain data that policies decide on."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.study.trial import FAILED, SAMPLED, TrialState


@dataclass
class StudyState:
    """All trials by number, in its order, and what the study has spent in earlier calls.

    `exhausted`: the sampler has nothing left to propose.
    """

    trials: dict[int, TrialState] = field(default_factory=dict)
    seconds_before: float = 0.0
    sequence: int = 0
    exhausted: bool = False

    def decide(self, trial: TrialState, line: str) -> None:
        """Every change of a trial's state has a line with its reason, and a place in the order of all."""
        self.sequence += 1
        trial.reason = line
        trial.decisions.append((self.sequence, line))

    def in_order(self) -> list[TrialState]:
        return list(self.trials.values())

    def with_status(self, *statuses: str) -> list[TrialState]:
        return [trial for trial in self.in_order() if trial.status in statuses]

    def standing(self) -> list[TrialState]:
        """All but those that were tried again: a failed trial leaves its place to its retry."""
        retried = {trial.retry_of for trial in self.in_order()}
        return [trial for trial in self.in_order() if trial.number not in retried]

    def failures(self) -> list[TrialState]:
        """What failed by itself and was not tried again."""
        return [trial for trial in self.standing() if trial.status == FAILED and trial.origin is None]

    def asked(self) -> set[int]:
        """Places in the plan's list that have a trial already."""
        return {trial.index for trial in self.trials.values()}

    def opened(self) -> int:
        """How many trials the study has had; one that is tried again counts once."""
        return sum(trial.retry_of is None for trial in self.trials.values())

    def drawn(self) -> int:
        """How many of them the sampler chose."""
        return sum(trial.retry_of is None and trial.index == SAMPLED for trial in self.trials.values())

    def original(self, config_key: str) -> TrialState | None:
        """The trial that trains a configuration; the newest where it was tried again."""
        same = [t for t in self.in_order() if t.origin is None and t.config_key == config_key]
        return same[-1] if same and config_key else None

    def duplicates(self, trial: TrialState) -> list[TrialState]:
        """The trials that take this one's result."""
        return [other for other in self.in_order() if other.origin == trial.number]

    def lost_before(self, trial: TrialState) -> int:
        """How often a trial lost its process; what it had lost before a `retry` does not count."""
        if trial.retry_of is None:
            return trial.retries
        return trial.retries - self.trials[trial.retry_of].retries - 1

    def slot_seconds(self) -> float:
        """Time that slots spent on trials: GPU-seconds where slots have one."""
        return sum(trial.seconds for trial in self.trials.values() if trial.origin is None)
