"""The Gantt chart of the slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from reports.figures_time import time_unit
from reports.formatting import duration, shorten
from reports.plot_style import COLOURS, NEUTRAL, SLOT_COLOURS, blank_figure, faded, plain, rung_colour, show_message
from reports.record import StudyRecord
from reports.rungs import rung_count
from reports.slot_time import Interval, slot_intervals, time_span, work_blocks

MAX_BARS = 3_000


def slots(record: StudyRecord) -> go.Figure:
    """The work of each slot over time."""
    return slot_gantt(record, slot_intervals(record))


def slot_gantt(record: StudyRecord, intervals: Sequence[Interval]) -> go.Figure:
    """Training coloured by rung, and the other uses of slot time; the rest was idle.

    Of more than 3,000 intervals, neighbours are drawn as one, in the colour of the first one's rung.
    """
    if not intervals:
        return show_message(blank_figure("seconds of study time", height_px=220), "No times were recorded.")
    (begin, end), names = time_span(intervals), list(dict.fromkeys(part.slot for part in intervals))
    unit, size = time_unit(end)
    figure = blank_figure(f"{unit} of study time", height_px=max(260, 180 + 40 * len(names)))
    idle = [Interval(name, "idle", 0, 0, "", begin, end) for name in names]
    _add_work(figure, "idle", faded(NEUTRAL, 0.2), idle, size)
    blocks = work_blocks(intervals)
    if len(intervals) + len(blocks) <= MAX_BARS:
        _add_training(figure, record, [part for part in intervals if part.kind == "training"], size)
        for kind, colour in SLOT_COLOURS.items():
            _add_work(figure, kind, colour, [part for part in intervals if part.kind == kind], size)
        _add_trial_numbers(figure, record, blocks, size)
    else:
        _add_training(figure, record, merged_blocks(blocks, MAX_BARS), size)
    figure.update_layout(barmode="overlay", bargap=0.3, uniformtext={"mode": "hide", "minsize": 9})
    figure.update_layout(legend={"traceorder": "normal"})
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(range=(begin / size, end / size))
    return figure


def merged_blocks(blocks: Sequence[Interval], limit: int) -> list[Interval]:
    """At most about `limit` blocks: neighbours in a slot are merged into one with the trial and rung of the first."""
    size = -(-len(blocks) // limit)
    merged: list[Interval] = []
    for slot in dict.fromkeys(block.slot for block in blocks):
        in_slot = [block for block in blocks if block.slot == slot]
        for start in range(0, len(in_slot), size):
            group = in_slot[start : start + size]
            merged.append(group[0]._replace(end=group[-1].end))
    return merged


def _add_training(figure: go.Figure, record: StudyRecord, training: Sequence[Interval], size: float) -> None:
    rungs = rung_count(record)
    for rung in range(1, rungs + 1):
        chosen = [part for part in training if not part.run and min(max(part.rung, 1), rungs) == rung]
        _add_work(figure, f"rung {rung}" if rungs > 1 else "training", rung_colour(rung, rungs), chosen, size)
    _add_work(figure, "promoted", COLOURS["promoted"], [part for part in training if part.run], size)


def _add_trial_numbers(figure: go.Figure, record: StudyRecord, blocks: Sequence[Interval], size: float) -> None:
    """Show the numbers of the trials over their training, as the text of invisible bars."""
    rungs = rung_count(record)
    _add_bars(
        figure,
        blocks,
        size,
        marker={"color": "rgba(0,0,0,0)", "line": {"width": 1, "color": "#ffffff"}},
        text=[str(block.trial_id) for block in blocks],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        insidetextfont={"color": ["#ffffff" if b.rung >= rungs and not b.run else "#1c2530" for b in blocks]},
        hoverinfo="skip",
        showlegend=False,
    )


def _add_work(figure: go.Figure, name: str, colour: str, parts: Sequence[Interval], size: float) -> None:
    """Add the bars of one name in the legend, if there are any."""
    if parts:
        _add_bars(
            figure,
            parts,
            size,
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            hovertext=[_hover(part) for part in parts],
            hovertemplate="%{hovertext}<extra></extra>",
        )


def _add_bars(figure: go.Figure, parts: Sequence[Interval], size: float, **style: Any) -> None:
    """Add a bar in the row of its slot for each part; `size` is the unit of the x axis in seconds."""
    figure.add_bar(
        base=[part.begin / size for part in parts],
        x=[part.seconds / size for part in parts],
        y=[plain(shorten(part.slot, 30)) for part in parts],
        orientation="h",
        **style,
    )


def _hover(part: Interval) -> str:
    if part.kind == "idle":
        return "idle"
    length = duration(part.seconds)
    if part.kind == "block":
        return f"trial {part.trial_id} and others after it: {length}"
    run = f", {plain(shorten(part.run, 40))}" if part.run else ""
    work = "training at full budget" if part.run and part.kind == "training" else part.kind
    reason = f" ({plain(shorten(part.reason, 40))})" if part.reason else ""
    epoch = f" epoch {part.epoch}" if part.epoch else ""
    return f"<b>trial {part.trial_id}</b>{run}<br>{work}{reason}{epoch}: {length}"
