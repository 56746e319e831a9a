"""How trials moved over the rungs of a ladder."""

from __future__ import annotations

import re
from collections import Counter
from statistics import median

from reports.figures_rungs import highest_rungs, rung_flow
from reports.formatting import MISSING, joined, metric_text, plural, shorten
from reports.markup import Section, esc, paragraph, scroller, table
from reports.record import StudyRecord
from reports.render import figure_html
from reports.rungs import own_trials, rung_count, rung_words, values_by_rung

MAX_RUNGS = 20


def section(record: StudyRecord) -> Section | None:
    """The flow over the rungs as a plot and a table; None without a ladder or a trial."""
    if rung_count(record) < 2 or not record.trials:
        return None
    resumed = _resumed(record)
    trials = plural(len(own_trials(record)), "trial")
    note = f"{plural(resumed, 'paused trial')} continued later, when there was room." if resumed else ""
    caption = (
        "The width of a band is the number of trials. Every trial begins on the lowest rung; the best continue, "
        "the others are paused and may continue later."
    )
    alt = f"How {trials} moved over {plural(rung_count(record), 'rung')}."
    flow = figure_html("funnel", rung_flow(record), alt, caption)
    return Section(
        "Over the rungs",
        paragraph(esc(note)) + scroller("Flow over the rungs", f'<div class="broad">{flow}</div>') + _table(record),
    )


def _resumed(record: StudyRecord) -> int:
    """The number of trials that continued after they had been paused at a rung, found in the lines of the log."""
    paused: set[int] = set()
    resumed: set[int] = set()
    for decision in sorted(record.decisions, key=lambda decision: decision.sequence):
        if re.search(r" paused at rung \d+ of ", decision.line):
            paused.add(decision.trial_id)
        elif decision.trial_id in paused and re.search(r" goes on to rung \d+ of ", decision.line):
            resumed.add(decision.trial_id)
    return len(resumed)


def _table(record: StudyRecord) -> str:
    top, values = highest_rungs(record), values_by_rung(record)
    by_id = {trial.trial_id: trial for trial in own_trials(record)}
    label = record.metric.label
    heads = ("Rung", "Budget", "Trials", "Continued", "Ended here", f"Best {label}", f"Median {label}")
    rows = []
    for rung in range(1, min(rung_count(record), MAX_RUNGS) + 1):
        on_rung = [trial_id for trial_id in by_id if top[trial_id] >= rung]
        ended = Counter(by_id[trial_id].status for trial_id in on_rung if top[trial_id] == rung)
        rung_values = list(values.get(rung, {}).values())
        best = min(rung_values, key=record.metric.sort_key, default=None)
        rows.append(
            (
                f"{rung}",
                esc(shorten(rung_words(record, rung), 60).replace(" ", "\u00a0")) or MISSING,
                f"{len(on_rung):,}",
                f"{len(on_rung) - ended.total():,}",
                esc(joined([f"{count:,} {status}" for status, count in ended.items()])) or MISSING,
                esc(metric_text(record.metric, best)),
                esc(metric_text(record.metric, median(rung_values) if rung_values else None)),
            )
        )
    return table("The trials of each rung", heads, rows, numeric=(2, 3, 5, 6))
