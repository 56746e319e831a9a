"""How trials fell and rose over the rungs of a ladder."""

from __future__ import annotations

import re
from collections import Counter

from reports.figures_rungs import highest_rungs, rung_flow
from reports.markup import Section, esc, paragraph, scroller, table
from reports.ranking import gain, middle_of
from reports.record import StudyRecord
from reports.render import figure_html
from reports.rungs import own_trials, rung_count, rung_words, values_by_rung
from reports.words import MISSING, joined, metric_text, plural, shorten

MAX_RUNGS = 20


def section(record: StudyRecord) -> Section | None:
    """The flow over the rungs, in a picture and in numbers; None without a ladder or a trial."""
    if rung_count(record) < 2 or not record.trials:
        return None
    late = _late(record)
    trials = plural(len(own_trials(record)), "trial")
    rose = f"{plural(late, 'trial')} that had been passed over rose later, when there was room." if late else ""
    caption = (
        "The width of a band is its number of trials. Every trial begins on the lowest rung; the best go on, "
        "the others rest and may still rise."
    )
    alt = f"How {trials} moved over {plural(rung_count(record), 'rung')}."
    flow = figure_html("funnel", rung_flow(record), alt, caption)
    return Section(
        "Over the rungs",
        paragraph(esc(rose)) + scroller("Flow over the rungs", f'<div class="broad">{flow}</div>') + _table(record),
    )


def _late(record: StudyRecord) -> int:
    """How many trials went on after they had rested for a lack of places. The log's own words tell."""
    rested: set[int] = set()
    rose: set[int] = set()
    for decision in sorted(record.decisions, key=lambda decision: decision.sequence):
        if re.search(r" paused at rung \d+ of ", decision.line):
            rested.add(decision.trial_id)
        elif decision.trial_id in rested and re.search(r" goes on to rung \d+ of ", decision.line):
            rose.add(decision.trial_id)
    return len(rose)


def _table(record: StudyRecord) -> str:
    top, values = highest_rungs(record), values_by_rung(record)
    by_id = {trial.trial_id: trial for trial in own_trials(record)}
    heads = (
        "Rung",
        "Budget",
        "Trials",
        "Went on",
        "Stayed",
        f"Best {record.metric.label}",
        f"Median {record.metric.label}",
    )
    rows = []
    for rung in range(1, min(rung_count(record), MAX_RUNGS) + 1):
        there = [trial_id for trial_id in by_id if top[trial_id] >= rung]
        stayed = Counter(by_id[trial_id].status for trial_id in there if top[trial_id] == rung)
        found = list(values.get(rung, {}).values())
        best = max(found, key=lambda value: gain(record.metric, value), default=None)
        rows.append(
            (
                f"{rung}",
                esc(shorten(rung_words(record, rung), 60).replace(" ", "\u00a0")) or MISSING,
                f"{len(there):,}",
                f"{len(there) - stayed.total():,}",
                esc(joined([f"{count:,} {status}" for status, count in stayed.items()])) or MISSING,
                esc(metric_text(record.metric, best)),
                esc(metric_text(record.metric, middle_of(found) if found else None)),
            )
        )
    return table("What became of the trials of each rung", heads, rows, numeric=(2, 3, 5, 6))
