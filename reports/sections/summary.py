"""A summary of the study: the search, the best trial, the cost, the next steps."""

from __future__ import annotations

from statistics import fmean

from reports.formatting import duration, finite, joined, metric_text, param_text, plural, shorten, signed
from reports.markup import Section, chip, code, command, definitions, esc, paragraph
from reports.ranking import median_value, peers, ranked
from reports.record import STATUSES, FullRun, StudyRecord, Trial
from reports.rungs import own_trials
from reports.spending import saved

MAX_KEYS_NAMED = 8


def section(record: StudyRecord) -> Section | None:
    """The summary; every report has one, even that of an empty study."""
    competitors = ranked(record)
    parts = (
        _warnings(record),
        _tiles(record, competitors),
        paragraph(*_searched(record)),
        _best(record, competitors),
        paragraph(*_trust(record, competitors)),
        paragraph(*_cost(record)),
        paragraph(_promoted(record)),
        _next_steps(record),
    )
    return Section("Summary", "\n".join(filter(None, parts)))


def _warnings(record: StudyRecord) -> str:
    return "".join(f'<p class="note warn"><strong>Warning.</strong> {esc(text)}</p>' for text in record.warnings)


def _tiles(record: StudyRecord, competitors: list[Trial]) -> str:
    metric, done, planned = record.metric, len(record.trials), record.planned_trials
    tiles = {"Trials": f"{done:,} of {planned:,}" if planned > done else f"{done:,}"}
    if competitors:
        tiles[f"Best {metric.label}"] = metric_text(metric, competitors[0].value)
    if len(competitors) > 1:
        tiles[f"Median {metric.label}"] = metric_text(metric, median_value(peers(competitors)))
    promoted = _best_promoted(record)
    if promoted:
        tiles[f"Promoted {metric.label}"] = metric_text(metric, promoted[1])
    tiles["Epochs trained"] = f"{sum(trial.epochs for trial in record.trials):,}"
    tiles["Training time"] = duration(sum(trial.seconds for trial in record.trials))
    return definitions(tiles, kind="tiles")


def _searched(record: StudyRecord) -> list[str]:
    keys = [code(shorten(key, 60)) for key in record.parameters[:MAX_KEYS_NAMED]]
    if len(record.parameters) > len(keys):
        keys.append(plural(len(record.parameters) - len(keys), "further parameter"))
    varied = f"varied {joined(keys)}" if keys else "varied no parameter"
    best = "highest" if record.metric.maximize else "lowest"
    budget = f", each with a budget of {esc(record.budget_words)}" if record.budget_words else ""
    task = f" of {esc(record.task)}" if record.task else ""
    sentences = [f"This study{task} {varied} and looked for the {best} {esc(record.metric.label)}{budget}."]
    if not record.trials:
        return [*sentences, "No trial has been asked for yet."]
    counts = [(status, sum(trial.status == status for trial in record.trials)) for status in STATUSES]
    marks = [f"{count:,} {chip(status)}" for status, count in counts if count]
    opening = "So far, of" if record.in_progress else "Of"
    return [*sentences, f"{opening} {plural(len(record.trials), 'trial')}: {joined(marks)}."]


def _best(record: StudyRecord, competitors: list[Trial]) -> str:
    if not competitors:
        return paragraph("No trial has a value to compare.") if record.trials else ""
    best, label = competitors[0], esc(record.metric.label)
    rung = f" at rung {best.rung} ({esc(best.rung_words)})" if best.rung_words else ""
    value = esc(metric_text(record.metric, best.value))
    sentences = [f"<strong>Trial {best.trial_id} leads with {label} {value}</strong>{rung}."]
    if len(competitors) > 1:
        group = peers(competitors)
        same_rung = all(trial.rung == best.rung for trial in group)
        trials = plural(len(group), "trial")
        compared = f"the {trials} on its rung" if same_rung else f"all {trials}, not all of which trained as long,"
        median = esc(metric_text(record.metric, median_value(group)))
        sentences.append(f"The median of {compared} is {median}.")
    params = {key: shorten(param_text(best.params[key]), 200) for key in record.parameters if key in best.params}
    title = f"<h3>Parameters of trial {best.trial_id}</h3>" if params else ""
    return paragraph(*sentences, kind="lead") + title + definitions(params)


def _trust(record: StudyRecord, competitors: list[Trial]) -> list[str]:
    """How far the lead can be trusted: its size, and how well a small budget predicts a larger one."""
    sentences = []
    rivals = [trial for trial in competitors[1:] if trial.rung == competitors[0].rung] if competitors else []
    if rivals:
        values = [finite(trial.value) or 0.0 for trial in (competitors[0], *rivals)]
        lead = esc(metric_text(record.metric, abs(values[0] - values[1])))
        sentences.append(
            f"The lead over the second, trial {rivals[0].trial_id}, is {lead}; from the best to the worst of the "
            f"{len(values)} on this rung it is {esc(metric_text(record.metric, max(values) - min(values)))}. Each "
            "was trained once: another seed may reverse a small lead."
        )
    # The last pair is the most expensive one: the search and full training, else the lowest and the highest rung.
    if record.agreements:
        pair = record.agreements[-1]
        tau = pair.tau
        if tau.value is not None:
            interval = f" (95 %: {signed(tau.low)} to {signed(tau.high)})" if tau.low is not None else ""
            sure = "too few to tell" if tau.low is None or tau.low <= 0 else "more than chance"
            sentences.append(
                f"The rankings at {esc(pair.lower)} and {esc(pair.upper)} "
                f'<a href="#agreement">agree</a> with a Kendall’s τ of {signed(tau.value)} over '
                f" {plural(pair.compared, 'trial')}{interval}: {sure}."
            )
    return sentences


def _cost(record: StudyRecord) -> list[str]:
    trained = sum(trial.epochs for trial in record.trials if trial.duplicate_of is None)
    sentences = []
    # A trial pruned at its last epoch, below the threshold, saves nothing; copies are never trained.
    avoided = saved(record)
    if avoided.epochs:
        stopped = {trial.status for trial in own_trials(record) if trial.status in ("paused", "pruned")}
        verbs = {"paused": "pausing", "pruned": "pruning"}
        stopping = joined([verb for status, verb in verbs.items() if status in stopped], "or").capitalize()
        sentences.append(
            f"{stopping} {plural(avoided.trials, 'trial')} early saved {plural(avoided.epochs, 'epoch')}, "
            f"{avoided.epochs / (trained + avoided.epochs):.0%} of the epochs of training all trials to the end."
        )
    paused = sum(trial.status == "paused" for trial in record.trials)
    if paused:
        sentences.append(f"{plural(paused, 'trial')} {'is' if paused == 1 else 'are'} paused and can continue.")
    failed = sum(trial.status == "failed" for trial in record.trials)
    if failed:
        sentences.append(f'<a href="#failures">{plural(failed, "trial")} failed</a>.')
    copies = sum(trial.duplicate_of is not None for trial in record.trials)
    if copies:
        sentences.append(f"{plural(copies, 'trial')} repeated an earlier configuration and took its values.")
    return sentences


def _promoted(record: StudyRecord) -> str:
    metric = record.metric
    best = _best_promoted(record)
    if best is None:
        return f"{plural(len(record.full_runs), 'promoted run')} without a result so far." if record.full_runs else ""
    trial_id, value, runs = best
    before = next((trial.value for trial in record.trials if trial.trial_id == trial_id), None)
    in_search = (
        f"; in the search it had reached {esc(metric_text(metric, before))}" if finite(before) is not None else ""
    )
    start = ", started from the weights of the search," if runs[0].from_checkpoint else ""
    unfinished = next((run.status for run in runs if run.status != "completed"), "")
    state = f" so far ({esc(unfinished)})" if unfinished else ""
    mean = f", a mean over {plural(len(runs), 'seed')}" if len(runs) > 1 else ""
    return (
        f'Of <a href="#promoted">{plural(len(record.full_runs), "promoted run")}</a> at full budget{start}, trial '
        f"{trial_id} reached {esc(metric.label)} {esc(metric_text(metric, value))}{mean}{state}{in_search}."
    )


def _best_promoted(record: StudyRecord) -> tuple[int, float, list[FullRun]] | None:
    """The trial with the best mean over its seeds, this mean, and its runs with a value."""
    runs: dict[int, list[FullRun]] = {}
    for run in record.full_runs:
        if finite(run.value) is not None:
            runs.setdefault(run.trial_id, []).append(run)
    means = {trial_id: fmean(run.value or 0.0 for run in runs_of_trial) for trial_id, runs_of_trial in runs.items()}
    if not means:
        return None
    best = min(means, key=lambda trial_id: record.metric.sort_key(means[trial_id]))
    return best, means[best], runs[best]


def _next_steps(record: StudyRecord) -> str:
    steps = "".join(f"<li>{paragraph(esc(reason))}{command(line)}</li>" for reason, line in record.next_steps)
    return f'<h3>What to run next</h3><ul class="steps">{steps}</ul>' if steps else ""
