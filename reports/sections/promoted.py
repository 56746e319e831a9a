"""The results of the promoted trials at full budget, beside their results in the search."""

from __future__ import annotations

import statistics

from reports.formatting import MISSING, duration, finite, metric_text, plural, shorten
from reports.markup import Section, chip, code, esc, paragraph, table
from reports.record import Estimate, FullRun, StudyRecord


def section(record: StudyRecord) -> Section | None:
    """The table of promoted runs, best first; None if nothing was promoted."""
    if not record.full_runs:
        return None
    label = record.metric.label
    heads = ("Trial", "Seed", "Status", label, f"Best {label}", "In the search", "Epochs", "Time", "Folder", "Reason")
    runs = sorted(record.full_runs, key=lambda run: _sort_key(record, run))
    rows = [_row(record, run) for run in runs]
    return Section(
        "Promoted runs",
        paragraph("Trials that were trained again at full budget, and their results in the search.")
        + _start(record)
        + _choice(record)
        + table("Promoted runs, best first", heads, rows, numeric=(0, 1, 3, 4, 5, 6, 7), wide=(9,))
        + _seed_means(record),
    )


def _sort_key(record: StudyRecord, run: FullRun) -> tuple[int, float, int, int]:
    value = finite(run.value)
    rank = (2, 0.0) if run.status == "failed" else (1, 0.0) if value is None else (0, record.metric.sort_key(value))
    return (*rank, run.trial_id, run.seed_index)


def _row(record: StudyRecord, run: FullRun) -> tuple[str, ...]:
    before = next((trial.value for trial in record.trials if trial.trial_id == run.trial_id), None)
    return (
        str(run.trial_id),
        str(run.seed_index),
        chip(run.status),
        f"<strong>{esc(metric_text(record.metric, run.value))}</strong>{_equivalence_mark(record, run)}",
        esc(metric_text(record.metric, run.best)),
        esc(metric_text(record.metric, before)),
        f"{run.epochs:,} of {run.total_epochs:,}" if run.total_epochs else f"{run.epochs:,}",
        esc(duration(run.seconds)),
        code(shorten(run.folder, 80)),
        esc(shorten(run.reason, 300)) or MISSING,
    )


def _equivalence_mark(record: StudyRecord, run: FullRun) -> str:
    """A mark on a run that differs from the best mean by less than the standard deviation between seeds."""
    value, choice = finite(run.value), record.choice
    if record.noise is None or choice is None or choice.mean.value is None or value is None:
        return ""
    return " ≈" if run.trial_id != choice.trial_id and abs(value - choice.mean.value) < record.noise else ""


def _start(record: StudyRecord) -> str:
    trials = sorted({run.trial_id for run in record.full_runs if run.from_checkpoint})
    if not trials:
        return ""
    names = f"{'Trial' if len(trials) == 1 else 'Trials'} {', '.join(map(str, trials))}"
    return paragraph(
        f"{names} started from the weights of the search, not from scratch, with a new learning-rate schedule over the "
        "full budget. Training with best.yaml does not start from these weights: it is a different experiment."
    )


def _choice(record: StudyRecord) -> str:
    """The winner, its lead, and whether the lead is more than chance."""
    choice = record.choice
    if choice is None:
        return ""
    mean = _with_interval(record, choice.mean)
    sentences = [f"Trial {choice.trial_id} is the choice: mean {mean} over {plural(choice.seeds, 'seed')}."]
    if choice.runner_up is not None and choice.lead is not None:
        ahead = f"It is {_with_interval(record, choice.lead)} ahead of trial {choice.runner_up}"
        if choice.tie is None:
            sentences.append(f"{ahead}; with one seed each it is unknown whether that is chance (see --promote-seeds).")
        elif choice.tie:
            sentences.append(f"{ahead}: a tie. The interval contains 0, so either may be better.")
        else:
            sentences.append(f"{ahead}: a clear winner.")
    if record.noise is not None:
        spread = esc(metric_text(record.metric, record.noise))
        sentences.append(
            f"The standard deviation between seeds of one configuration is {spread}: smaller differences, anywhere in "
            "this report, mean nothing; ≈ marks the runs that differ from the best mean by less."
        )
    return paragraph(*sentences)


def _with_interval(record: StudyRecord, estimate: Estimate) -> str:
    value = f"<strong>{esc(metric_text(record.metric, estimate.value))}</strong>"
    if estimate.low is None or estimate.high is None:
        return value
    low, high = (esc(metric_text(record.metric, part)) for part in (estimate.low, estimate.high))
    return f"{value} (95 %: {low} to {high})"


def _seed_means(record: StudyRecord) -> str:
    """The mean and range of each trial that ran with several seeds."""
    by_trial: dict[int, list[float]] = {}
    for run in record.full_runs:
        value = finite(run.value)
        if run.status == "completed" and value is not None:
            by_trial.setdefault(run.trial_id, []).append(value)
    sentences = [
        f"Trial {trial_id} over {plural(len(values), 'seed')}: mean "
        f"{esc(metric_text(record.metric, statistics.mean(values)))}, from "
        f"{esc(metric_text(record.metric, min(values)))} to {esc(metric_text(record.metric, max(values)))}."
        for trial_id, values in sorted(by_trial.items())
        if len(values) > 1
    ]
    return paragraph(*sentences)
