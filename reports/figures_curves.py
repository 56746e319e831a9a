"""The learning curves, coloured by what became of the trials or by the rungs on which they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go

from reports.figures import hover, hover_run
from reports.ranking import Curve, curves, ranked, thinned
from reports.record import StudyRecord
from reports.rungs import rung_count
from reports.style import (
    COLOURS,
    NEUTRAL,
    SYMBOLS,
    blank_figure,
    count_axis,
    faded,
    rung_colour,
    say_empty,
    switch,
    value_axis,
)
from reports.words import metric_format, plural

MAX_CURVES = 1_000
THINNED_CURVES = 300  # where there are more: a thousand lines are a solid area
LEADING_CURVES = 100  # of them, so that thinning never hides the best
MAX_POINTS = 30_000
MAX_MARKED_POINTS = 3_000
MAX_BANDS = 8

_Key = tuple[str, str]  # what a line stands for, and plotly's mode


def learning_curves(record: StudyRecord) -> go.Figure:
    """The primary metric by epoch, one curve per trial, coloured by status; promoted runs are dashed.

    On a ladder two buttons choose between the colours of the statuses and those of the rungs. Above 1,000 trials the
    best 100 and an even spread of the others are drawn, and the x axis says so.
    """
    figure = blank_figure("epoch", record.metric.label, height_px=460)
    every = curves(record)
    if not every:
        return say_empty(figure, "No evaluation yet.")
    drawn = _fewer(record, every)
    value_axis(figure, record.metric, [value for curve in drawn for value in curve.values])
    figure.update_xaxes(title_text=_thinning_words(every, drawn))
    count_axis(figure, max(curve.epochs[-1] for curve in drawn))
    by_status = _lines_by_status(record, drawn)
    for (name, mode), line in by_status.items():
        look = _Look(COLOURS[name], SYMBOLS[name], name == "promoted")
        _add_curves(figure, record, name, mode, line, look, crowd=len(drawn))
    rungs = rung_count(record)
    if rungs > 1:
        _add_by_rung(figure, record, drawn, rungs)
    _mark_rungs(figure, record)
    return figure


def _add_by_rung(figure: go.Figure, record: StudyRecord, drawn: Sequence[Curve], rungs: int) -> None:
    """The same curves again, coloured by rung, and the buttons that choose between the two; hidden at first."""
    before = [trace.name for trace in figure.data]
    for (name, mode), line in _lines_by_rung(record, drawn, rungs).items():
        look = _Look(rung_colour(int(name), rungs), "circle", False)
        _add_curves(figure, record, f"rung {name}", mode, line, look, crowd=len(drawn), visible=False)
    more = len(figure.data) - len(before)
    promoted = ["promoted" in name for name in before]
    switch(figure, {"by status": [True] * len(before) + [False] * more, "by rung": promoted + [True] * more})


def _mark_rungs(figure: go.Figure, record: StudyRecord) -> None:
    """Where each rung of a ladder ends, as a band behind the curves: values on both sides of an edge do not compare."""
    if not 1 < len(record.rungs) <= MAX_BANDS:
        return
    begin = 0
    for number, rung in enumerate(record.rungs, start=1):
        colour = faded(rung_colour(number, len(record.rungs)), 0.13)
        figure.add_vrect(x0=begin + 0.5, x1=rung.epochs + 0.5, fillcolor=colour, line={"width": 0}, layer="below")
        middle = (begin + rung.epochs + 1) / 2
        words = f"rung {number}" if number == len(record.rungs) else f"{number}"
        figure.add_annotation(
            x=middle, y=1, yref="paper", yanchor="top", text=words, showarrow=False, font={"size": 11, "color": NEUTRAL}
        )
        begin = rung.epochs


@dataclass
class _Line:
    """All curves of one kind as one trace with gaps: plotly draws that far faster than a trace each."""

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
    """Plotly's mode: marks in a small study, else only where there is no line to see."""
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
    """Each curve in pieces, one for each rung; a piece begins where the one before it ended."""
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
    places: dict[int, list[int]] = {}
    for place, rung in enumerate(curve.rungs):
        there = places.setdefault(min(max(rung, 1), rungs), [place - 1] if place else [])
        there.append(place)
    return [
        (rung, Curve(curve.trial_id, "", [curve.epochs[n] for n in some], [curve.values[n] for n in some]))
        for rung, some in places.items()
    ]


def _add_curves(
    figure: go.Figure,
    record: StudyRecord,
    name: str,
    mode: str,
    line: _Line,
    look: _Look,
    *,
    crowd: int,
    visible: bool = True,
) -> None:
    width = 2 if look.promoted or crowd <= 60 else 1 if crowd <= 300 else 0.5
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


def _fewer(record: StudyRecord, every: Sequence[Curve]) -> list[Curve]:
    """Fewer curves and fewer points per curve where there are too many to draw or to look at."""
    promoted = [curve for curve in every if curve.run]
    search = [curve for curve in every if not curve.run]
    if len(search) > MAX_CURVES:
        leading = {trial.trial_id for trial in ranked(record)[:LEADING_CURVES]}
        first = [curve for curve in search if curve.trial_id in leading]
        others = [curve for curve in search if curve.trial_id not in leading]
        search = first + [others[place] for place in thinned(len(others), THINNED_CURVES - len(first))]
    chosen = search + promoted
    if sum(len(curve.values) for curve in chosen) <= MAX_POINTS:
        return chosen
    limit = max(2, MAX_POINTS // len(chosen))
    return [_sparser(curve, limit) for curve in chosen]


def _sparser(curve: Curve, limit: int) -> Curve:
    places = thinned(len(curve.values), limit)
    epochs = [curve.epochs[place] for place in places]
    values, rungs = [curve.values[place] for place in places], [curve.rungs[place] for place in places]
    return Curve(curve.trial_id, curve.run, epochs, values, rungs)


def _thinning_words(every: Sequence[Curve], drawn: Sequence[Curve]) -> str:
    notes = []
    if len(drawn) < len(every):
        notes.append(f"{len(drawn):,} of {plural(len(every), 'curve')} drawn")
    before, after = max(len(curve.values) for curve in every), max(len(curve.values) for curve in drawn)
    if after < before:
        notes.append(f"at most {after} of {before} points each")
    return f"epoch ({', '.join(notes)})" if notes else "epoch"
