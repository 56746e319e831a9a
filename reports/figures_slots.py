"""The Gantt chart of the slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import plotly.graph_objects as go

from reports.figures_time import time_unit
from reports.formatting import duration, shorten
from reports.plot_style import COLOURS, NEUTRAL, SLOT_COLOURS, blank_figure, faded, plain, rung_colour, show_message
from reports.record import StudyRecord
from reports.rungs import rung_count
from reports.slot_time import Interval, WorkBlock, slot_intervals, time_span, work_blocks

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
    idle = [WorkBlock(name, 0, 0, "", begin, end, 0) for name in names]
    _add_bars(figure, "idle", faded(NEUTRAL, 0.2), idle, ["idle"] * len(names), size)
    blocks = work_blocks(intervals)
    if len(intervals) + len(blocks) <= MAX_BARS:
        _add_training(figure, record, [part for part in intervals if part.kind == "training"], size)
        for kind, colour in SLOT_COLOURS.items():
            chosen = [part for part in intervals if part.kind == kind]
            _add_bars(figure, kind, colour, chosen, [_hover(part, kind) for part in chosen], size)
        _add_trial_numbers(figure, record, blocks, size)
    else:
        _add_training(figure, record, merged_blocks(blocks, MAX_BARS), size)
    figure.update_layout(barmode="overlay", bargap=0.3, uniformtext={"mode": "hide", "minsize": 9})
    figure.update_layout(legend={"traceorder": "normal"})
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(range=(begin / size, end / size))
    return figure


def merged_blocks(blocks: Sequence[WorkBlock], limit: int) -> list[WorkBlock]:
    """At most about `limit` blocks: neighbours in a slot are merged into one with the trial and rung of the first."""
    size = -(-len(blocks) // limit)
    merged: list[WorkBlock] = []
    for slot in dict.fromkeys(block.slot for block in blocks):
        in_slot = [block for block in blocks if block.slot == slot]
        for start in range(0, len(in_slot), size):
            group = in_slot[start : start + size]
            merged.append(replace(group[0], end=group[-1].end, epochs=0))
    return merged


def _add_training(
    figure: go.Figure, record: StudyRecord, training: Sequence[Interval | WorkBlock], size: float
) -> None:
    rungs = rung_count(record)
    for rung in range(1, rungs + 1):
        chosen = [part for part in training if not part.run and min(max(part.rung, 1), rungs) == rung]
        name = f"rung {rung}" if rungs > 1 else "training"
        _add_bars(figure, name, rung_colour(rung, rungs), chosen, [_hover(part, "training") for part in chosen], size)
    promoted = [part for part in training if part.run]
    hover_texts = [_hover(part, "training at full budget") for part in promoted]
    _add_bars(figure, "promoted", COLOURS["promoted"], promoted, hover_texts, size)


def _add_trial_numbers(figure: go.Figure, record: StudyRecord, blocks: Sequence[WorkBlock], size: float) -> None:
    """Show the numbers of the trials over their training, as the text of invisible bars."""
    rungs = rung_count(record)
    figure.add_bar(
        base=[block.begin / size for block in blocks],
        x=[(block.end - block.begin) / size for block in blocks],
        y=[_slot_name(block.slot) for block in blocks],
        orientation="h",
        marker={"color": "rgba(0,0,0,0)", "line": {"width": 1, "color": "#ffffff"}},
        text=[str(block.trial_id) for block in blocks],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        insidetextfont={"color": ["#ffffff" if b.rung >= rungs and not b.run else "#1c2530" for b in blocks]},
        hoverinfo="skip",
        showlegend=False,
    )


def _add_bars(
    figure: go.Figure,
    name: str,
    colour: str,
    parts: Sequence[Interval | WorkBlock],
    hover_texts: Sequence[str],
    size: float,
) -> None:
    if not parts:
        return
    figure.add_bar(
        base=[part.begin / size for part in parts],
        x=[(part.end - part.begin) / size for part in parts],
        y=[_slot_name(part.slot) for part in parts],
        orientation="h",
        name=name,
        marker={"color": colour, "line": {"width": 0}},
        hovertext=hover_texts,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _slot_name(slot: str) -> str:
    return plain(shorten(slot, 30))


def _hover(part: Interval | WorkBlock, name: str) -> str:
    length = duration(part.end - part.begin)
    if isinstance(part, WorkBlock):
        return f"trial {part.trial_id} and others after it: {length}"
    run = f", {plain(shorten(part.run, 40))}" if part.run else ""
    reason = f" ({plain(shorten(part.reason, 40))})" if part.reason else ""
    epoch = f" epoch {part.epoch}" if part.epoch else ""
    return f"<b>trial {part.trial_id}</b>{run}<br>{name}{reason}{epoch}: {length}"
