"""The slots over time, as a Gantt chart."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from reports.figures_time import time_unit
from reports.record import StudyRecord
from reports.rungs import rung_count
from reports.slottime import Stretch, Work, span, stretches, works
from reports.style import COLOURS, NEUTRAL, SLOT_COLOURS, blank_figure, faded, plain, rung_colour, say_empty
from reports.words import duration, shorten

MAX_BARS = 3_000
_NAMES = {
    "opening": "opening",
    "evaluation": "evaluation",
    "checkpoint": "checkpoint",
    "lost": "lost",
}


def slots(record: StudyRecord) -> go.Figure:
    """Who did what on which slot when."""
    return slot_gantt(record, stretches(record))


def slot_gantt(record: StudyRecord, found: Sequence[Stretch]) -> go.Figure:
    """Training coloured by rung, beside it what else the slots' time went into; what is left was idle.

    Of more than 3,000 stretches, neighbours are drawn as one in the colour of the first one's rung.
    """
    if not found:
        return say_empty(blank_figure("seconds of study time", height_px=220), "No times are known.")
    (begin, end), names = span(found), list(dict.fromkeys(one.slot for one in found))
    unit, size = time_unit(end)
    figure = blank_figure(f"{unit} of study time", height_px=max(260, 180 + 40 * len(names)))
    idle = [Work(name, 0, 0, "", begin, end, 0) for name in names]
    _bars(figure, "idle", faded(NEUTRAL, 0.2), idle, ["idle"] * len(names), size)
    pieces = works(found)
    if len(found) + len(pieces) <= MAX_BARS:
        _add_training(figure, record, [one for one in found if one.kind == "training"], size)
        for kind, name in _NAMES.items():
            mine = [one for one in found if one.kind == kind]
            _bars(figure, name, SLOT_COLOURS[kind], mine, [_words(one, name) for one in mine], size)
        _add_numbers(figure, record, pieces, size)
    else:
        _add_training(figure, record, joined_up(pieces, MAX_BARS), size)
    figure.update_layout(barmode="overlay", bargap=0.3, uniformtext={"mode": "hide", "minsize": 9})
    figure.update_layout(legend={"traceorder": "normal"})
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(range=(begin / size, end / size))
    return figure


def joined_up(pieces: Sequence[Work], limit: int) -> list[Work]:
    """At most about `limit` pieces: neighbours on a slot become one, with the rung of the first and no trial's name."""
    size = -(-len(pieces) // limit)
    joined: list[Work] = []
    for slot in dict.fromkeys(work.slot for work in pieces):
        mine = [work for work in pieces if work.slot == slot]
        for place in range(0, len(mine), size):
            group = mine[place : place + size]
            first = group[0]
            joined.append(Work(slot, first.trial_id, first.rung, first.run, first.begin, group[-1].end, 0))
    return joined


def _add_training(figure: go.Figure, record: StudyRecord, training: Sequence[Stretch | Work], size: float) -> None:
    rungs = rung_count(record)
    for rung in range(1, rungs + 1):
        mine = [one for one in training if not one.run and min(max(one.rung, 1), rungs) == rung]
        name = f"rung {rung}" if rungs > 1 else "training"
        _bars(figure, name, rung_colour(rung, rungs), mine, [_words(one, "training") for one in mine], size)
    promoted = [one for one in training if one.run]
    words = [_words(one, "training at full budget") for one in promoted]
    _bars(figure, "promoted", COLOURS["promoted"], promoted, words, size)


def _add_numbers(figure: go.Figure, record: StudyRecord, pieces: Sequence[Work], size: float) -> None:
    """The trials' numbers over what they trained, in bars that nobody sees."""
    rungs = rung_count(record)
    figure.add_bar(
        base=[one.begin / size for one in pieces],
        x=[(one.end - one.begin) / size for one in pieces],
        y=[_slot_name(one.slot) for one in pieces],
        orientation="h",
        marker={"color": "rgba(0,0,0,0)", "line": {"width": 1, "color": "#ffffff"}},
        text=[str(one.trial_id) for one in pieces],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        insidetextfont={"color": ["#ffffff" if one.rung >= rungs and not one.run else "#1c2530" for one in pieces]},
        hoverinfo="skip",
        showlegend=False,
    )


def _bars(
    figure: go.Figure, name: str, colour: str, drawn: Sequence[Stretch | Work], words: Sequence[str], size: float
) -> None:
    if not drawn:
        return
    figure.add_bar(
        base=[one.begin / size for one in drawn],
        x=[(one.end - one.begin) / size for one in drawn],
        y=[_slot_name(one.slot) for one in drawn],
        orientation="h",
        name=name,
        marker={"color": colour, "line": {"width": 0}},
        hovertext=words,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _slot_name(slot: str) -> str:
    return plain(shorten(slot, 30))


def _words(one: Stretch | Work, name: str) -> str:
    took = duration(one.end - one.begin)
    if isinstance(one, Work):
        return f"from trial {one.trial_id} on, several: {took}"
    where = f", {plain(shorten(one.run, 40))}" if one.run else ""
    why = f" ({plain(shorten(one.why, 40))})" if one.why else ""
    epoch = f" epoch {one.epoch}" if one.epoch else ""
    return f"<b>trial {one.trial_id}</b>{where}<br>{name}{why}{epoch}: {took}"
