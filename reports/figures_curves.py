"""The plot of the learning curves, coloured by the status of the trials or by rung."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go

from reports.curves import Curve, curves, thinned
from reports.figures_history import hover, hover_run
from reports.formatting import metric_format, plural
from reports.plot_style import (
    LOOKS,
    NEUTRAL,
    blank_figure,
    count_axis,
    faded,
    rung_colour,
    show_message,
    switch,
    value_axis,
)
from reports.ranking import ranked
from reports.record import StudyRecord
from reports.rungs import rung_count

MAX_CURVES = 1_000
THINNED_CURVES = 300  # drawn if there are more: a thousand lines look like a solid area
LEADING_CURVES = 100  # of them, so that thinning never hides the best
MAX_POINTS = 30_000
MAX_MARKED_POINTS = 3_000
MAX_BANDS = 8

_Named = tuple[str, Curve, str]  # status or rung, a curve or a piece of one, and its hover text


def learning_curves(record: StudyRecord) -> go.Figure:
    """The primary metric by epoch, one curve per trial, coloured by status; promoted runs are dashed.

    On a ladder, two buttons switch between colours by status and by rung. Above 1,000 trials, the best 100 and an even
    selection of the others are drawn, which the title of the x axis says.
    """
    figure = blank_figure("epoch", record.metric.label, height_px=460)
    all_curves = curves(record)
    if not all_curves:
        return show_message(figure, "No evaluation yet.")
    drawn = _reduced(record, all_curves)
    value_axis(figure, record.metric, [value for curve in drawn for value in curve.values])
    figure.update_xaxes(title_text=_axis_title(all_curves, drawn))
    count_axis(figure, max(curve.epochs[-1] for curve in drawn))
    _add_curves(figure, record, _by_status(record, drawn), LOOKS, drawn)
    rungs = rung_count(record)
    if rungs > 1:
        _add_by_rung(figure, record, drawn, rungs)
    _mark_rungs(figure, record)
    return figure


def _add_by_rung(figure: go.Figure, record: StudyRecord, drawn: Sequence[Curve], rungs: int) -> None:
    """Add the same curves coloured by rung, hidden at first, and the buttons that switch between the two."""
    status_traces = [trace.name for trace in figure.data]
    looks = {f"rung {rung}": (rung_colour(rung, rungs), "circle") for rung in range(1, rungs + 1)}
    _add_curves(figure, record, _by_rung(record, drawn, rungs), looks, drawn, visible=False)
    added = len(figure.data) - len(status_traces)
    promoted = ["promoted" in name for name in status_traces]
    switch(figure, {"by status": [True] * len(status_traces) + [False] * added, "by rung": promoted + [True] * added})


def _mark_rungs(figure: go.Figure, record: StudyRecord) -> None:
    """Mark the rungs of a ladder as bands behind the curves: values on different rungs cannot be compared."""
    if not 1 < len(record.rungs) <= MAX_BANDS:
        return
    begin = 0
    for number, rung in enumerate(record.rungs, start=1):
        colour = faded(rung_colour(number, len(record.rungs)), 0.13)
        figure.add_vrect(x0=begin + 0.5, x1=rung.epochs + 0.5, fillcolor=colour, line={"width": 0}, layer="below")
        middle = (begin + rung.epochs + 1) / 2
        label = f"rung {number}" if number == len(record.rungs) else f"{number}"
        figure.add_annotation(
            x=middle, y=1, yref="paper", yanchor="top", text=label, showarrow=False, font={"size": 11, "color": NEUTRAL}
        )
        begin = rung.epochs


@dataclass
class _Line:
    """All curves of one kind as one trace with gaps: plotly draws it far faster than one trace per curve."""

    x: list[int | None] = field(default_factory=list)
    y: list[float | None] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def add(self, curve: Curve, label: str) -> None:
        self.x += [*curve.epochs, None]
        self.y += [*curve.values, None]
        self.text += [label] * (len(curve.values) + 1)


def _by_status(record: StudyRecord, drawn: Sequence[Curve]) -> Iterator[_Named]:
    trials = {trial.trial_id: trial for trial in record.trials}
    for curve in drawn:
        trial = trials.get(curve.trial_id)
        if curve.run:
            yield "promoted", curve, hover_run(trials, curve.trial_id, curve.run)
        elif trial is not None:
            yield trial.status, curve, hover(trial, trial.status)


def _by_rung(record: StudyRecord, drawn: Sequence[Curve], rungs: int) -> Iterator[_Named]:
    """Each curve in one piece per rung; a piece begins at the last point of the piece before it."""
    trials = {trial.trial_id: trial for trial in record.trials}
    for curve in drawn:
        trial = trials.get(curve.trial_id)
        if curve.run or trial is None:
            continue
        pieces: dict[int, list[int]] = {}
        for place, rung in enumerate(curve.rungs):
            pieces.setdefault(min(max(rung, 1), rungs), [place - 1] if place else []).append(place)
        for rung, places in pieces.items():
            yield f"rung {rung}", curve.at(places), hover(trial, trial.status)


def _add_curves(
    figure: go.Figure,
    record: StudyRecord,
    parts: Iterable[_Named],
    looks: Mapping[str, tuple[str, str]],
    drawn: Sequence[Curve],
    *,
    visible: bool = True,
) -> None:
    """Add parts of the `drawn` curves in the order of `looks`, which maps their names to colour and symbol.

    A small study has a marker at each evaluation, a large one only on a curve of a single point.
    """
    small = sum(len(curve.values) for curve in drawn) <= MAX_MARKED_POINTS
    lines: dict[tuple[str, str], _Line] = {}
    for name, curve, label in parts:
        mode = "lines+markers" if small else "lines" if len(curve.values) > 1 else "markers"
        lines.setdefault((name, mode), _Line()).add(curve, label)
    for name, mode in sorted(lines, key=lambda key: (list(looks).index(key[0]), key[1])):
        line, (colour, symbol), promoted = lines[name, mode], looks[name], name == "promoted"
        width = 2 if promoted or len(drawn) <= 60 else 1 if len(drawn) <= 300 else 0.5
        figure.add_scatter(
            x=line.x,
            y=line.y,
            text=line.text,
            mode=mode,
            marker={"color": colour, "size": 3 + 1.5 * width, "symbol": symbol},
            line={"color": colour, "width": width, "dash": "dash" if promoted else "solid"},
            opacity=1.0 if width == 2 else 0.6,
            connectgaps=False,
            visible=visible,
            name=f"{name}, one evaluation" if mode == "markers" else name,
            hovertemplate=f"%{{text}}<br>epoch %{{x}}: <b>%{{y:{metric_format(record.metric)}}}</b><extra></extra>",
        )


def _reduced(record: StudyRecord, all_curves: Sequence[Curve]) -> list[Curve]:
    """Fewer curves and fewer points per curve if there are too many to draw or to see."""
    promoted = [curve for curve in all_curves if curve.run]
    search = [curve for curve in all_curves if not curve.run]
    if len(search) > MAX_CURVES:
        leading = {trial.trial_id for trial in ranked(record)[:LEADING_CURVES]}
        first = [curve for curve in search if curve.trial_id in leading]
        others = [curve for curve in search if curve.trial_id not in leading]
        search = first + [others[index] for index in thinned(len(others), THINNED_CURVES - len(first))]
    chosen = search + promoted
    if sum(len(curve.values) for curve in chosen) <= MAX_POINTS:
        return chosen
    limit = max(2, MAX_POINTS // len(chosen))
    return [curve.at(thinned(len(curve.values), limit)) for curve in chosen]


def _axis_title(all_curves: Sequence[Curve], drawn: Sequence[Curve]) -> str:
    notes = []
    if len(drawn) < len(all_curves):
        notes.append(f"{len(drawn):,} of {plural(len(all_curves), 'curve')} drawn")
    longest, longest_drawn = (max(len(curve.values) for curve in group) for group in (all_curves, drawn))
    if longest_drawn < longest:
        notes.append(f"at most {longest_drawn} of {longest} points each")
    return f"epoch ({', '.join(notes)})" if notes else "epoch"
