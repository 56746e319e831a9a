"""What a study spent and on what: epochs, images and seconds, by status and by rung."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reports.record import STATUSES, Evaluation, Rung, StudyRecord, Trial
from reports.rungs import own_trials
from reports.words import finite


@dataclass(frozen=True)
class Spent:
    """A sum. `images` are images seen in training, 0 where unknown; `seconds` is None where unknown."""

    trials: int = 0
    epochs: int = 0
    images: int = 0
    seconds: float | None = 0.0

    def __add__(self, other: Spent) -> Spent:
        unknown = self.seconds is None or other.seconds is None
        seconds = None if unknown else (self.seconds or 0.0) + (other.seconds or 0.0)
        return Spent(self.trials + other.trials, self.epochs + other.epochs, self.images + other.images, seconds)


def by_status(record: StudyRecord) -> dict[str, Spent]:
    """What the trials of each status that occurs cost."""
    images = _images_by_trial(record)
    found: dict[str, Spent] = {}
    for status in STATUSES:
        mine = [trial for trial in own_trials(record) if trial.status == status]
        if mine:
            found[status] = sum((_spent(trial, images) for trial in mine), Spent())
    return found


def by_rung(record: StudyRecord) -> dict[int, Spent]:
    """What each rung cost, from the evaluations made there. A trial counts on every rung on which it trained."""
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
    """What training every pruned and paused trial to the end would have cost more; `seconds` where they are known.

    Not what failed or still runs: that would not have, or may still, come to its end.
    """
    rungs = _rungs(record)
    paces = {
        rung: spent.seconds / spent.epochs for rung, spent in by_rung(record).items() if spent.seconds and spent.epochs
    }
    total = Spent()
    for trial in own_trials(record):
        if trial.status not in ("pruned", "paused"):
            continue
        below = 0
        more = Spent(1)
        for number, rung in enumerate(rungs, start=1):
            left = max(0, rung.epochs - max(below, trial.epochs))
            below = rung.epochs
            pace = paces.get(number)
            more += Spent(0, left, left * rung.images, (None if pace is None else left * pace) if left else 0.0)
        total += more if more.epochs else Spent()
    return total


def full_runs(record: StudyRecord) -> Spent:
    """What the promoted runs cost."""
    return sum((Spent(1, run.epochs, 0, finite(run.seconds) or 0.0) for run in record.full_runs), Spent())


def _spent(trial: Trial, images: Mapping[int, int]) -> Spent:
    return Spent(1, trial.epochs, images.get(trial.trial_id, 0), finite(trial.seconds) or 0.0)


def _rungs(record: StudyRecord) -> Sequence[Rung]:
    return record.rungs or (Rung(record.budget_words, record.epochs_per_trial),)


def _rung(record: StudyRecord, number: int) -> Rung:
    rungs = _rungs(record)
    return rungs[min(max(number, 1), len(rungs)) - 1]


def _images_by_trial(record: StudyRecord) -> dict[int, int]:
    found: dict[int, int] = {}
    for evaluation, epochs in _search_epochs(record):
        images = epochs * _rung(record, evaluation.rung).images
        found[evaluation.trial_id] = found.get(evaluation.trial_id, 0) + images
    return found


def _search_epochs(record: StudyRecord) -> Iterator[tuple[Evaluation, int]]:
    """Each evaluation of the search with the epochs since the one before it."""
    own = {trial.trial_id for trial in own_trials(record)}
    last: dict[int, int] = {}
    for evaluation in sorted(record.evaluations, key=lambda e: e.epoch):
        if evaluation.run or evaluation.trial_id not in own:
            continue
        epochs = evaluation.epoch - last.get(evaluation.trial_id, 0)
        last[evaluation.trial_id] = evaluation.epoch
        yield evaluation, epochs
