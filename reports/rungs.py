"""What trials were worth on each rung, where they stand, and how well one rung foretells another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from reports.ranking import metric_of, thinned
from reports.record import StudyRecord, Trial
from reports.words import finite

MAX_TRIALS_COMPARED = 200  # a thousand bootstrap samples compare every pair in each
BOOTSTRAP_SAMPLES = 1_000
LEAST_COMPARED = 3  # trials

Values = Mapping[int, float]
Pair = tuple[str, str, Values, Values]  # the names of two rungs, the trials' values there


@dataclass(frozen=True)
class Agreement:
    """Kendall's τ-b between two lists of values, with the ends of its 95 % bootstrap interval over trials.

    M. Kendall, The treatment of ties in ranking problems, Biometrika 33 (1945). None where all values are equal.
    """

    trials: int
    tau: float | None
    low: float | None = None
    high: float | None = None


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


def pairs(record: StudyRecord) -> Iterator[Pair]:
    """Each rung and the next, the lowest and the highest, and the highest and full training: their names and values.

    Only those with enough trials in common to be compared.
    """
    values = values_by_rung(record)
    rungs = list(values)
    steps = list(pairwise(rungs))
    if len(rungs) > 2:
        steps.append((rungs[0], rungs[-1]))
    full = values_in_full(record)
    every = [(f"rung {lower}", f"rung {upper}", values[lower], values[upper]) for lower, upper in steps]
    if rungs and full:
        every.append(("the search", "full training", values[rungs[-1]], full))
    yield from (pair for pair in every if len(pair[2].keys() & pair[3].keys()) >= LEAST_COMPARED)


def agreement(lower: Values, upper: Values) -> Agreement:
    """How alike two rungs order the trials that have a value on both."""
    both = [trial_id for trial_id in lower if trial_id in upper]
    chosen = [both[place] for place in thinned(len(both), MAX_TRIALS_COMPARED)]
    signs = _signs([lower[t] for t in chosen]), _signs([upper[t] for t in chosen])
    tau = _tau(*signs)
    if tau is None or len(chosen) < LEAST_COMPARED:
        return Agreement(len(both), tau)
    chance = np.random.default_rng(0)  # the same report from the same record
    draws = []
    for _ in range(BOOTSTRAP_SAMPLES if len(chosen) <= 50 else BOOTSTRAP_SAMPLES // 5):
        places = chance.integers(0, len(chosen), len(chosen))
        grid = np.ix_(places, places)
        drawn = _tau(signs[0][grid], signs[1][grid])
        draws += [] if drawn is None else [drawn]
    low, high = np.quantile(draws, (0.025, 0.975)) if draws else (tau, tau)
    return Agreement(len(both), tau, float(low), float(high))


def _signs(values: Sequence[float]) -> np.ndarray:
    """Which of each pair is the larger, as -1, 0 or 1."""
    line = np.asarray(values, dtype=float)
    signs: np.ndarray = np.sign(line[:, None] - line[None, :]).astype(np.int8)
    return signs


def _tau(left: np.ndarray, right: np.ndarray) -> float | None:
    pairs = float(np.count_nonzero(left)) * float(np.count_nonzero(right))
    return float((left * right).sum(dtype=np.int64)) / pairs**0.5 if pairs else None
