"""The plot of the learning curves, coloured by the status of the trials or by rung."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go

from reports.curves import Curve, curves, thinned
from reports.figures_history import hover, hover_run
from reports.formatting import metric_format, plural
from reports.plot_style import (
    COLOURS,
    NEUTRAL,
    SYMBOLS,
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

_Key = tuple[str, str]  # status or rung, and plotly's mode


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
    by_status = _lines_by_status(record, drawn)
    for (name, mode), line in by_status.items():
        look = _Look(COLOURS[name], SYMBOLS[name], name == "promoted")
        _add_curves(figure, record, name, mode, line, look, curve_count=len(drawn))
    rungs = rung_count(record)
    if rungs > 1:
        _add_by_rung(figure, record, drawn, rungs)
    _mark_rungs(figure, record)
    return figure


def _add_by_rung(figure: go.Figure, record: StudyRecord, drawn: Sequence[Curve], rungs: int) -> None:
    """Add the same curves coloured by rung, hidden at first, and the buttons that switch between the two."""
    status_traces = [trace.name for trace in figure.data]
    for (name, mode), line in _lines_by_rung(record, drawn, rungs).items():
        look = _Look(rung_colour(int(name), rungs), "circle", False)
        _add_curves(figure, record, f"rung {name}", mode, line, look, curve_count=len(drawn), visible=False)
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


@dataclass(frozen=True)
class _Look:
    colour: str
    symbol: str
    promoted: bool


def _mode(curve: Curve, small: bool) -> str:
    """Plotly's mode: with markers in a small study, else only for a curve of a single point."""
    return "lines+markers" if small else "lines" if len(curve.values) > 1 else "markers"


def _small(drawn: Sequence[Curve]) -> bool:
    return sum(len(curve.values) for curve in drawn) <= MAX_MARKED_POINTS


def _lines_by_status(record: StudyRecord, drawn: Sequence[Curve]) -> dict[_Key, _Line]:
    trials = {trial.trial_id: trial for trial in record.trials}
    modes = ("lines+markers", "lines", "markers")
    lines: dict[_Key, _Line] = {(name, mode): _Line() for name in COLOURS for mode in modes}
    small = _small(drawn)
    for curve in drawn:
        trial = trials.get(curve.trial_id)
        if curve.run:
            lines["promoted", _mode(curve, small)].add(curve, hover_run(trials, curve.trial_id, curve.run))
        elif trial is not None:
            lines[trial.status, _mode(curve, small)].add(curve, hover(trial, trial.status))
    return {key: line for key, line in lines.items() if line.x}


def _lines_by_rung(record: StudyRecord, drawn: Sequence[Curve], rungs: int) -> dict[_Key, _Line]:
    """Each curve in one piece per rung; a piece begins at the last point of the piece before it."""
    trials = {trial.trial_id: trial for trial in record.trials}
    lines: dict[_Key, _Line] = {}
    small = _small(drawn)
    for curve in drawn:
        trial = trials.get(curve.trial_id)
        if curve.run or trial is None:
            continue
        label = hover(trial, trial.status)
        for rung, piece in _pieces(curve, rungs):
            lines.setdefault((str(rung), _mode(piece, small)), _Line()).add(piece, label)
    return dict(sorted(lines.items(), key=lambda item: (int(item[0][0]), item[0][1])))


def _pieces(curve: Curve, rungs: int) -> list[tuple[int, Curve]]:
    indices: dict[int, list[int]] = {}
    for index, rung in enumerate(curve.rungs):
        indices.setdefault(min(max(rung, 1), rungs), [index - 1] if index else []).append(index)
    return [
        (rung, Curve(curve.trial_id, "", [curve.epochs[i] for i in chosen], [curve.values[i] for i in chosen]))
        for rung, chosen in indices.items()
    ]


def _add_curves(
    figure: go.Figure,
    record: StudyRecord,
    name: str,
    mode: str,
    line: _Line,
    look: _Look,
    *,
    curve_count: int,
    visible: bool = True,
) -> None:
    width = 2 if look.promoted or curve_count <= 60 else 1 if curve_count <= 300 else 0.5
    figure.add_scatter(
        x=line.x,
        y=line.y,
        text=line.text,
        mode=mode,
        marker={"color": look.colour, "size": 3 + 1.5 * width, "symbol": look.symbol},
        line={"color": look.colour, "width": width, "dash": "dash" if look.promoted else "solid"},
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
    return [_thinned_curve(curve, limit) for curve in chosen]


def _thinned_curve(curve: Curve, limit: int) -> Curve:
    indices = thinned(len(curve.values), limit)
    epochs = [curve.epochs[index] for index in indices]
    values, rungs = [curve.values[index] for index in indices], [curve.rungs[index] for index in indices]
    return Curve(curve.trial_id, curve.run, epochs, values, rungs)


def _axis_title(all_curves: Sequence[Curve], drawn: Sequence[Curve]) -> str:
    notes = []
    if len(drawn) < len(all_curves):
        notes.append(f"{len(drawn):,} of {plural(len(all_curves), 'curve')} drawn")
    longest, longest_drawn = (max(len(curve.values) for curve in group) for group in (all_curves, drawn))
    if longest_drawn < longest:
        notes.append(f"at most {longest_drawn} of {longest} points each")
    return f"epoch ({', '.join(notes)})" if notes else "epoch"
