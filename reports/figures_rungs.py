"""The plots of a ladder: the flow of trials over its rungs, and the ranks of trials on two rungs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import plotly.graph_objects as go

from reports.curves import thinned
from reports.formatting import plural
from reports.plot_style import COLOURS, NEUTRAL, blank_figure, count_axis, faded, plain, rung_colour, show_message
from reports.record import STATUSES, StudyRecord
from reports.rungs import Values, own_trials, rung_count, values_by_rung

MAX_RANKS_DRAWN = 500


def highest_rungs(record: StudyRecord) -> dict[int, int]:
    """Trial → the highest rung on which it was evaluated; for a trial without evaluations, the rung in the record."""
    reached = {trial.trial_id: 0 for trial in own_trials(record)}
    for rung, values in values_by_rung(record).items():
        for trial_id in values:
            reached[trial_id] = max(reached[trial_id], rung)
    last = rung_count(record)  # a damaged file may name a rung that does not exist
    return {trial.trial_id: min(reached[trial.trial_id] or trial.rung, last) for trial in own_trials(record)}


def rung_flow(record: StudyRecord) -> go.Figure:
    """A Sankey diagram: how many trials continued from rung to rung, and the status of the others on each rung."""
    figure = blank_figure(height_px=360)
    trials = own_trials(record)
    if not trials:
        return show_message(figure, "No trial yet.")
    top = highest_rungs(record)
    rungs = range(1, min(rung_count(record), max(top.values())) + 1)
    ends = Counter((top[trial.trial_id], trial.status) for trial in trials)
    names: list[str] = []
    colours: list[str] = []
    links: list[tuple[int, int, int, str]] = []
    for rung in rungs:
        count = sum(top[trial.trial_id] >= rung for trial in trials)
        names.append(f"rung {rung}: " + (plural(count, "trial") if rung == 1 else f"{count:,}"))
        colours.append(rung_colour(rung, len(rungs)))
    for rung in rungs:
        continued = sum(top[trial.trial_id] > rung for trial in trials)
        if continued:
            links.append((rung - 1, rung, continued, colours[rung]))
        for status in STATUSES:
            count = ends[rung, status]
            if count:
                links.append((rung - 1, len(names), count, COLOURS[status]))
                names.append(f"{count:,} {status}")
                colours.append(COLOURS[status])
    figure.add_sankey(
        arrangement="snap",
        node={
            "label": names,
            "color": colours,
            "pad": 22,
            "thickness": 14,
            "line": {"width": 0},
            "hovertemplate": "%{label}<extra></extra>",
        },
        link={
            "source": [link[0] for link in links],
            "target": [link[1] for link in links],
            "value": [link[2] for link in links],
            "color": [faded(link[3]) for link in links],
            "hovertemplate": "%{source.label} → %{target.label}: %{value:d}<extra></extra>",
        },
    )
    figure.update_layout(margin={"l": 8, "r": 8, "t": 16, "b": 16})
    return figure


def rank_scatter(record: StudyRecord, lower: Values, upper: Values, names: Sequence[str]) -> go.Figure:
    """The rank of each trial on a lower and on a higher rung, among the trials with a value on both; 1 is best."""
    figure = blank_figure(f"rank: {names[0]}", f"rank: {names[1]}", height_px=340)
    both = [trial_id for trial_id in lower if trial_id in upper]
    if not both:
        return show_message(figure, "No trial has a value on both.")
    x, y = _ranks(record, lower, both), _ranks(record, upper, both)
    shown = [both[place] for place in thinned(len(both), MAX_RANKS_DRAWN)]
    last = len(both)
    figure.add_scatter(
        x=[1, last], y=[1, last], mode="lines", line={"color": NEUTRAL, "width": 1, "dash": "dot"}, hoverinfo="skip",
        showlegend=False,
    )  # fmt: skip
    figure.add_scatter(
        x=[x[trial_id] for trial_id in shown],
        y=[y[trial_id] for trial_id in shown],
        text=[f"trial {trial_id}" for trial_id in shown],
        mode="markers",
        marker={"color": COLOURS["running"], "size": 9 if last <= 100 else 6, "opacity": 0.8},
        hovertemplate=f"<b>%{{text}}</b><br>{plain(names[0])}: %{{x}}<br>{plain(names[1])}: %{{y}}<extra></extra>",
        showlegend=False,
    )
    count_axis(figure, last)
    figure.update_yaxes(tickformat="d", dtick=1 if last <= 12 else None)
    edge = (0.5 - 0.02 * last, last + 0.5 + 0.02 * last)
    figure.update_xaxes(range=edge, autorange=False)
    figure.update_yaxes(range=edge[::-1])
    return figure


def _ranks(record: StudyRecord, values: Values, trial_ids: Sequence[int]) -> dict[int, int]:
    best_first = sorted(trial_ids, key=lambda trial_id: (record.metric.sort_key(values[trial_id]), trial_id))
    return {trial_id: place for place, trial_id in enumerate(best_first, start=1)}
