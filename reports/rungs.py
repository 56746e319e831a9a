"""The values of the trials on each rung."""

from __future__ import annotations

from collections.abc import Mapping

from reports.curves import metric_of
from reports.record import StudyRecord, Trial

Values = Mapping[int, float]


def own_trials(record: StudyRecord) -> list[Trial]:
    """The trials that were trained; a copy takes the values of its original and costs nothing."""
    return [trial for trial in record.trials if trial.duplicate_of is None]


def rung_count(record: StudyRecord) -> int:
    """The number of rungs of the study, as far as the record shows."""
    reached = (trial.rung for trial in record.trials)
    return max(len(record.rungs), max(reached, default=1))


def rung_words(record: StudyRecord, rung: int) -> str:
    """A description of the rung, `3 epochs, 500 images @160`; empty if the record has none."""
    return record.rungs[rung - 1].words if 0 < rung <= len(record.rungs) else ""


def values_by_rung(record: StudyRecord) -> dict[int, dict[int, float]]:
    """Rung → trial → the metric of its last evaluation on the rung, without promoted runs."""
    last: dict[int, dict[int, tuple[int, float]]] = {}
    own = {trial.trial_id for trial in own_trials(record)}
    for evaluation in record.evaluations:
        value = metric_of(record.metric, evaluation)
        if evaluation.run or value is None or evaluation.trial_id not in own:
            continue
        on_rung = last.setdefault(evaluation.rung, {})
        if evaluation.epoch >= on_rung.get(evaluation.trial_id, (0, 0.0))[0]:
            on_rung[evaluation.trial_id] = (evaluation.epoch, value)
    return {rung: {trial_id: value for trial_id, (_, value) in last[rung].items()} for rung in sorted(last)}


def comparable(record: StudyRecord, least: int) -> tuple[int, dict[int, float]]:
    """The highest rung on which at least `least` trials that did not fail have a value, and these values.

    If there is no such rung, the one with most values. Values on different rungs cannot be compared.
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
