"""What trials were worth on each rung, where they stand, and how well one rung foretells another."""

from __future__ import annotations

from collections.abc import Mapping

from reports.ranking import metric_of
from reports.record import StudyRecord, Trial
from reports.words import finite

Values = Mapping[int, float]


def own_trials(record: StudyRecord) -> list[Trial]:
    """The trials that trained themselves; a copy has its original's values and cost nothing."""
    return [trial for trial in record.trials if trial.duplicate_of is None]


def rung_count(record: StudyRecord) -> int:
    """How many rungs the study has, so far as the record tells."""
    seen = (trial.rung for trial in record.trials)
    return max(len(record.rungs), max(seen, default=1))


def rung_words(record: StudyRecord, rung: int) -> str:
    """What a rung is, where the record knows: `3 epochs, 500 images @160`."""
    return record.rungs[rung - 1].words if 0 < rung <= len(record.rungs) else ""


def values_by_rung(record: StudyRecord) -> dict[int, dict[int, float]]:
    """Rung → trial → the metric of its last evaluation there. Promoted runs are left out."""
    last: dict[int, dict[int, tuple[int, float]]] = {}
    own = {trial.trial_id for trial in own_trials(record)}
    for evaluation in record.evaluations:
        value = metric_of(record.metric, evaluation)
        if evaluation.run or value is None or evaluation.trial_id not in own:
            continue
        there = last.setdefault(evaluation.rung, {})
        if evaluation.epoch >= there.get(evaluation.trial_id, (0, 0.0))[0]:
            there[evaluation.trial_id] = (evaluation.epoch, value)
    return {rung: {trial_id: value for trial_id, (_, value) in last[rung].items()} for rung in sorted(last)}


def values_in_full(record: StudyRecord) -> dict[int, float]:
    """Trial → the mean value of its completed runs at full budget."""
    found: dict[int, list[float]] = {}
    for run in record.full_runs:
        value = finite(run.value)
        if value is not None and run.status == "completed":
            found.setdefault(run.trial_id, []).append(value)
    return {trial_id: sum(values) / len(values) for trial_id, values in found.items()}


def comparable(record: StudyRecord, least: int) -> tuple[int, dict[int, float]]:
    """The highest rung on which at least `least` trials that did not fail have a value, and these values.

    Where there is none, the rung with the most. Values of different rungs do not compare.
    """
    failed = {trial.trial_id for trial in record.trials if trial.status == "failed"}
    by_rung = {
        rung: {trial_id: value for trial_id, value in values.items() if trial_id not in failed}
        for rung, values in values_by_rung(record).items()
    }
    enough = [rung for rung, values in by_rung.items() if len(values) >= least]
    if enough:
        return max(enough), by_rung[max(enough)]
    rung = max(by_rung, key=lambda rung: len(by_rung[rung]), default=1)
    return rung, by_rung.get(rung, {})
