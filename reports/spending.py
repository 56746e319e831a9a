"""The cost of a study in epochs, images and seconds, by status and by rung."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports.formatting import finite
from reports.record import STATUSES, Evaluation, Rung, StudyRecord
from reports.rungs import own_trials


@dataclass(frozen=True)
class Spent:
    """A sum of costs. `images` are images seen in training, 0 if unknown; `seconds` is None if unknown."""

    trials: int = 0
    epochs: int = 0
    images: int = 0
    seconds: float | None = 0.0

    def __add__(self, other: Spent) -> Spent:
        unknown = self.seconds is None or other.seconds is None
        seconds = None if unknown else (self.seconds or 0.0) + (other.seconds or 0.0)
        return Spent(self.trials + other.trials, self.epochs + other.epochs, self.images + other.images, seconds)


def by_status(record: StudyRecord) -> dict[str, Spent]:
    """The cost of the trials by status; statuses that do not occur are left out."""
    images: Counter[int] = Counter()
    for evaluation, epochs in _search_epochs(record):
        images[evaluation.trial_id] += epochs * _rung(record, evaluation.rung).images
    spent: dict[str, Spent] = {}
    for status in STATUSES:
        trials = [trial for trial in own_trials(record) if trial.status == status]
        if trials:
            costs = (Spent(1, trial.epochs, images[trial.trial_id], finite(trial.seconds) or 0.0) for trial in trials)
            spent[status] = sum(costs, Spent())
    return spent


def by_rung(record: StudyRecord) -> dict[int, Spent]:
    """The cost of each rung, from the evaluations made on it. A trial counts on every rung on which it trained."""
    trials: dict[int, set[int]] = {}
    trained: Counter[int] = Counter()
    seconds: dict[int, float] = {}
    for evaluation, epochs in _search_epochs(record):
        rung = evaluation.rung
        trials.setdefault(rung, set()).add(evaluation.trial_id)
        trained[rung] += epochs
        seconds[rung] = seconds.get(rung, 0.0) + (finite(evaluation.seconds) or 0.0)
    return {
        rung: Spent(len(trials[rung]), trained[rung], trained[rung] * _rung(record, rung).images, seconds[rung])
        for rung in sorted(trials)
    }


def saved(record: StudyRecord) -> Spent:
    """The additional cost if every pruned and paused trial had been trained to the end; `seconds` None if unknown.

    Failed trials are not counted, as they would not have reached the end; nor are running ones, which still may.
    """
    rungs = _rungs(record)
    seconds_per_epoch = {
        rung: spent.seconds / spent.epochs for rung, spent in by_rung(record).items() if spent.seconds and spent.epochs
    }
    total = Spent()
    for trial in own_trials(record):
        if trial.status not in ("pruned", "paused"):
            continue
        start_epoch = 0
        avoided = Spent(1)
        for number, rung in enumerate(rungs, start=1):
            left = max(0, rung.epochs - max(start_epoch, trial.epochs))
            start_epoch = rung.epochs
            pace = seconds_per_epoch.get(number)
            avoided += Spent(0, left, left * rung.images, (None if pace is None else left * pace) if left else 0.0)
        total += avoided if avoided.epochs else Spent()
    return total


def full_runs(record: StudyRecord) -> Spent:
    """The cost of the promoted runs."""
    return sum((Spent(1, run.epochs, 0, finite(run.seconds) or 0.0) for run in record.full_runs), Spent())


def _rungs(record: StudyRecord) -> Sequence[Rung]:
    return record.rungs or (Rung(record.budget_words, record.epochs_per_trial),)


def _rung(record: StudyRecord, number: int) -> Rung:
    rungs = _rungs(record)
    return rungs[min(max(number, 1), len(rungs)) - 1]


def _search_epochs(record: StudyRecord) -> Iterator[tuple[Evaluation, int]]:
    """Each evaluation of the search with the number of epochs since the previous one of its trial."""
    own = {trial.trial_id for trial in own_trials(record)}
    last: dict[int, int] = {}
    for evaluation in sorted(record.evaluations, key=lambda e: e.epoch):
        if evaluation.run or evaluation.trial_id not in own:
            continue
        epochs = evaluation.epoch - last.get(evaluation.trial_id, 0)
        last[evaluation.trial_id] = evaluation.epoch
        yield evaluation, epochs
