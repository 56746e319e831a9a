"""The study in words: what was searched, what was found, what it cost, what to do next."""

from __future__ import annotations

from statistics import fmean

from reports.markup import Section, chip, code, command, definitions, esc, paragraph
from reports.ranking import gain, median_value, peers, ranked
from reports.record import STATUSES, FullRun, StudyRecord, Trial
from reports.rungs import own_trials
from reports.spending import saved
from reports.words import duration, finite, joined, metric_text, param_text, plural, shorten, signed

MAX_KEYS_NAMED = 8


def section(record: StudyRecord) -> Section | None:
    """The summary; it stands in every report, of an empty study too."""
    competitors = ranked(record)
    return Section(
        "Summary",
        "\n".join(
            part
            for part in (
                _warnings(record),
                _tiles(record, competitors),
                paragraph(*_searched(record)),
                _found(record, competitors),
                paragraph(*_trust(record, competitors)),
                paragraph(*_cost(record)),
                paragraph(_promoted(record)),
                _next_steps(record),
            )
            if part
        ),
    )


def _warnings(record: StudyRecord) -> str:
    return "".join(f'<p class="note warn"><strong>Warning.</strong> {esc(words)}</p>' for words in record.warnings)


def _tiles(record: StudyRecord, competitors: list[Trial]) -> str:
    metric = record.metric
    tiles = {"Trials": _of(len(record.trials), record.planned_trials)}
    if competitors:
        tiles[f"Best {metric.label}"] = metric_text(metric, competitors[0].value)
    if len(competitors) > 1:
        tiles[f"Median {metric.label}"] = metric_text(metric, median_value(peers(competitors)))
    promoted = _best_promoted(record)
    if promoted:
        tiles[f"Promoted {metric.label}"] = metric_text(metric, promoted[1])
    tiles["Epochs trained"] = f"{sum(trial.epochs for trial in record.trials):,}"
    tiles["Training time"] = duration(sum(trial.seconds for trial in record.trials))
    cells = "".join(f"<div><dt>{esc(name)}</dt><dd>{esc(value)}</dd></div>" for name, value in tiles.items())
    return f'<dl class="tiles">{cells}</dl>'


def _of(done: int, planned: int) -> str:
    return f"{done:,} of {planned:,}" if planned > done else f"{done:,}"


def _searched(record: StudyRecord) -> list[str]:
    keys = [code(shorten(key, 60)) for key in record.parameters[:MAX_KEYS_NAMED]]
    if len(record.parameters) > len(keys):
        keys.append(plural(len(record.parameters) - len(keys), "further parameter"))
    what = f"varied {joined(keys)}" if keys else "varied no parameter"
    better = "highest" if record.metric.direction == "maximize" else "lowest"
    budget = f", each on a budget of {esc(record.budget_words)}" if record.budget_words else ""
    task = f" of {esc(record.task)}" if record.task else ""
    sentences = [f"This study{task} {what} and looked for the {better} {esc(record.metric.label)}{budget}."]
    if not record.trials:
        return [*sentences, "No trial has been asked for yet."]
    counts = [(status, sum(trial.status == status for trial in record.trials)) for status in STATUSES]
    marks = [f"{count:,} {chip(status)}" for status, count in counts if count]
    opening = "So far, of" if record.in_progress else "Of"
    return [
        *sentences,
        f"{opening} {plural(len(record.trials), 'trial')}: {joined(marks)}.",
    ]


def _found(record: StudyRecord, competitors: list[Trial]) -> str:
    if not competitors:
        return paragraph("No trial has a value to compare.") if record.trials else ""
    best, label = competitors[0], esc(record.metric.label)
    at = f" at rung {best.rung} ({esc(best.rung_words)})" if best.rung_words else ""
    value = esc(metric_text(record.metric, best.value))
    sentences = [f"<strong>Trial {best.trial_id} leads with {label} {value}</strong>{at}."]
    if len(competitors) > 1:
        group = peers(competitors)
        alike = all(trial.rung == best.rung for trial in group)
        trials = plural(len(group), "trial")
        whose = f"the {trials} on its rung" if alike else f"all {trials}, not all of which trained as long,"
        median = esc(metric_text(record.metric, median_value(group)))
        sentences.append(f"The median of {whose} is {median}.")
    params = {key: shorten(param_text(best.params[key]), 200) for key in record.parameters if key in best.params}
    title = f"<h3>Parameters of trial {best.trial_id}</h3>" if params else ""
    return paragraph(*sentences, kind="lead") + title + definitions(params)


def _trust(record: StudyRecord, competitors: list[Trial]) -> list[str]:
    """How far the lead can be trusted: how large it is, and whether a cheap rung foretold a dear one."""
    sentences = []
    rivals = [trial for trial in competitors[1:] if trial.rung == competitors[0].rung] if competitors else []
    if rivals:
        first, second = (gain(record.metric, finite(trial.value) or 0.0) for trial in (competitors[0], rivals[0]))
        group = [gain(record.metric, finite(trial.value) or 0.0) for trial in (competitors[0], *rivals)]
        lead = esc(metric_text(record.metric, first - second))
        sentences.append(
            f"The lead over the second, trial {rivals[0].trial_id}, is {lead}; from the best to the worst of the "
            f"{len(group)} on this rung it is {esc(metric_text(record.metric, max(group) - min(group)))}. Each "
            "was trained once: another seed may reverse a small lead."
        )
    # The dearest comparison comes last: the search and full training, else the lowest and the highest rung.
    if record.agreements:
        pair = record.agreements[-1]
        tau = pair.tau
        if tau.value is not None:
            interval = f" (95 %: {signed(tau.low)} to {signed(tau.high)})" if tau.low is not None else ""
            sure = "too few to tell" if tau.low is None or tau.low <= 0 else "more than by chance"
            sentences.append(
                f'The orders on {esc(pair.lower)} and {esc(pair.upper)} <a href="#agreement">agree</a> by a Kendall’s '
                f"τ of {signed(tau.value)} over {plural(pair.compared, 'trial')}{interval}: {sure}."
            )
    return sentences


def _cost(record: StudyRecord) -> list[str]:
    trained = sum(trial.epochs for trial in record.trials if trial.duplicate_of is None)
    sentences = []
    # A trial pruned at the very end, below the threshold, saved nothing; a copy never trained.
    more = saved(record)
    if more.epochs:
        stopped = {trial.status for trial in own_trials(record) if trial.status in ("paused", "pruned")}
        how = joined(
            [word for status, word in (("paused", "Pausing"), ("pruned", "pruning")) if status in stopped], "or"
        )
        sentences.append(
            f"{how[:1].upper()}{how[1:]} {plural(more.trials, 'trial')} early saved {plural(more.epochs, 'epoch')}, "
            f"{more.epochs / (trained + more.epochs):.0%} of what training them to the end would have taken."
        )
    paused = sum(trial.status == "paused" for trial in record.trials)
    if paused:
        sentences.append(f"{plural(paused, 'trial')} {'is' if paused == 1 else 'are'} paused and can go on.")
    failed = sum(trial.status == "failed" for trial in record.trials)
    if failed:
        sentences.append(f'<a href="#failures">{plural(failed, "trial")} failed</a>.')
    copies = sum(trial.duplicate_of is not None for trial in record.trials)
    if copies:
        sentences.append(f"{plural(copies, 'trial')} repeated an earlier one and took its values.")
    return sentences


def _promoted(record: StudyRecord) -> str:
    metric = record.metric
    best = _best_promoted(record)
    if best is None:
        return f"{plural(len(record.full_runs), 'promoted run')} without a result so far." if record.full_runs else ""
    trial_id, value, its = best
    before = next((trial.value for trial in record.trials if trial.trial_id == trial_id), None)
    promise = f", where the search had {esc(metric_text(metric, before))}" if finite(before) is not None else ""
    start = ", from the weights that the search had trained" if its[0].from_checkpoint else ""
    under_way = next((run.status for run in its if run.status != "completed"), "")
    state = f" so far ({esc(under_way)})" if under_way else ""
    mean = f", a mean over {plural(len(its), 'seed')}" if len(its) > 1 else ""
    return (
        f'Of <a href="#promoted">{plural(len(record.full_runs), "promoted run")}</a> at full budget{start}, trial '
        f"{trial_id} reached {esc(metric.label)} {esc(metric_text(metric, value))}{mean}{state}{promise}."
    )


def _best_promoted(record: StudyRecord) -> tuple[int, float, list[FullRun]] | None:
    """The trial with the best mean over its seeds, that mean, and its runs with a value: one lucky seed is no lead."""
    runs: dict[int, list[FullRun]] = {}
    for run in record.full_runs:
        if finite(run.value) is not None:
            runs.setdefault(run.trial_id, []).append(run)
    means = {trial_id: fmean(run.value or 0.0 for run in its) for trial_id, its in runs.items()}
    if not means:
        return None
    best = max(means, key=lambda trial_id: gain(record.metric, means[trial_id]))
    return best, means[best], runs[best]


def _next_steps(record: StudyRecord) -> str:
    steps = "".join(f"<li>{paragraph(esc(why))}{command(line)}</li>" for why, line in record.next_steps)
    return f'<h3>What to run next</h3><ul class="steps">{steps}</ul>' if steps else ""
