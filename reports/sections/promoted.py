"""What the promoted trials reached at full budget, beside what the search had promised."""

from __future__ import annotations

import statistics

from reports.markup import Section, chip, code, esc, paragraph, table
from reports.ranking import gain
from reports.record import Estimate, FullRun, StudyRecord
from reports.words import MISSING, duration, finite, metric_text, plural, shorten


def section(record: StudyRecord) -> Section | None:
    """The table of full runs, best first; None where nothing was promoted."""
    if not record.full_runs:
        return None
    label = record.metric.label
    heads = (
        "Trial",
        "Seed",
        "Status",
        label,
        f"Best {label}",
        "In the search",
        "Epochs",
        "Time",
        "Folder",
        "Reason",
    )
    runs = sorted(record.full_runs, key=lambda run: _order(record, run))
    rows = [_row(record, run) for run in runs]
    return Section(
        "Promoted runs",
        paragraph("Trials that were trained again at full budget, and what they had reached in the search.")
        + _start_words(record)
        + _choice_words(record)
        + table("Promoted runs, best first", heads, rows, numeric=(0, 1, 3, 4, 5, 6, 7), wide=(9,))
        + _seed_words(record),
    )


def _order(record: StudyRecord, run: FullRun) -> tuple[int, float, int, int]:
    value = finite(run.value)
    rank = (2, 0.0) if run.status == "failed" else (1, 0.0) if value is None else (0, -gain(record.metric, value))
    return (*rank, run.trial_id, run.seed_index)


def _row(record: StudyRecord, run: FullRun) -> tuple[str, ...]:
    before = next((trial.value for trial in record.trials if trial.trial_id == run.trial_id), None)
    return (
        str(run.trial_id),
        str(run.seed_index),
        chip(run.status),
        f"<strong>{esc(metric_text(record.metric, run.value))}</strong>{_like_the_best(record, run)}",
        esc(metric_text(record.metric, run.best)),
        esc(metric_text(record.metric, before)),
        f"{run.epochs:,} of {run.total_epochs:,}" if run.total_epochs else f"{run.epochs:,}",
        esc(duration(run.seconds)),
        code(shorten(run.folder, 80)),
        esc(shorten(run.reason, 300)) or MISSING,
    )


def _like_the_best(record: StudyRecord, run: FullRun) -> str:
    """A mark on what is no further from the best mean than one configuration's seeds are from each other."""
    value, choice = finite(run.value), record.choice
    if record.noise is None or choice is None or choice.mean.value is None or value is None:
        return ""
    return " ≈" if run.trial_id != choice.trial_id and abs(value - choice.mean.value) < record.noise else ""


def _start_words(record: StudyRecord) -> str:
    warm = sorted({run.trial_id for run in record.full_runs if run.from_checkpoint})
    if not warm:
        return ""
    which = f"{'Trial' if len(warm) == 1 else 'Trials'} {', '.join(map(str, warm))}"
    return paragraph(
        f"{which} started from the weights that the search had trained, not from scratch; the schedule was laid anew "
        "over the full budget. best.yaml does not start from them: it is another experiment than these runs."
    )


def _choice_words(record: StudyRecord) -> str:
    """Who won, by how much, and whether that is more than luck."""
    choice = record.choice
    if choice is None:
        return ""
    mean = _with_interval(record, choice.mean)
    lines = [f"Trial {choice.trial_id} is the choice: mean {mean} over {plural(choice.seeds, 'seed')}."]
    if choice.runner_up is not None and choice.lead is not None:
        ahead = f"It is {_with_interval(record, choice.lead)} ahead of trial {choice.runner_up}"
        if choice.tie is None:
            lines.append(f"{ahead}; with one seed each nobody can say whether that is luck (--promote-seeds 2).")
        elif choice.tie:
            lines.append(f"{ahead}: a tie. The interval holds 0, so either may be the better one.")
        else:
            lines.append(f"{ahead}: a clear winner.")
    if record.noise is not None:
        spread = esc(metric_text(record.metric, record.noise))
        lines.append(
            f"From seed to seed one configuration spreads by {spread} (standard deviation): differences smaller than "
            "that, anywhere in this report, mean nothing; ≈ marks the runs that are no further than that from the best "
            "mean."
        )
    return paragraph(" ".join(lines))


def _with_interval(record: StudyRecord, found: Estimate) -> str:
    value = f"<strong>{esc(metric_text(record.metric, found.value))}</strong>"
    if found.low is None or found.high is None:
        return value
    low, high = (esc(metric_text(record.metric, part)) for part in (found.low, found.high))
    return f"{value} (95 %: {low} to {high})"


def _seed_words(record: StudyRecord) -> str:
    """Mean and spread of each trial that ran with several seeds: one seed's lead may be luck."""
    by_trial: dict[int, list[float]] = {}
    for run in record.full_runs:
        value = finite(run.value)
        if run.status == "completed" and value is not None:
            by_trial.setdefault(run.trial_id, []).append(value)
    words = [
        f"Trial {trial_id} over {plural(len(values), 'seed')}: mean "
        f"{esc(metric_text(record.metric, statistics.mean(values)))}, from "
        f"{esc(metric_text(record.metric, min(values)))} to {esc(metric_text(record.metric, max(values)))}."
        for trial_id, values in sorted(by_trial.items())
        if len(values) > 1
    ]
    return paragraph(*words)
