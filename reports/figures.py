"""The plots of a study, as plotly figures that also serve in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from reports.ranking import Curve, curves, gain, ranked, thinned
from reports.record import StudyRecord, Trial
from reports.style import (
    COLOURS,
    NEUTRAL,
    SYMBOLS,
    blank_figure,
    count_axis,
    faded,
    plain,
    rung_colour,
    say_empty,
    value_axis,
)
from reports.words import finite, metric_format, param_text, plural, shorten

MAX_CURVES = 1_000
THINNED_CURVES = 300  # where there are more: a thousand lines are a solid area
LEADING_CURVES = 100  # of them, so that thinning never hides the best
MAX_POINTS = 30_000
MAX_MARKED_POINTS = 3_000
MAX_HOVER_PARAMS = 8
MAX_BANDS = 8


def optimisation_history(record: StudyRecord) -> go.Figure:
    """Every trial's value in the order of the trials, and the best so far among those on the highest rung."""
    figure = blank_figure("trial", record.metric.label)
    placed = [(trial, value) for trial in record.trials if (value := finite(trial.value)) is not None]
    if not placed:
        return say_empty(figure, "No trial has a value yet.")
    value_axis(figure, record.metric, [value for _, value in placed])
    count_axis(figure, max(trial.trial_id for trial, _ in placed))
    add_best(figure, best_so_far(record, {trial.trial_id: trial.trial_id for trial in record.trials}))
    for status in COLOURS:
        chosen = [(trial, value) for trial, value in placed if trial.status == status]
        points = [(trial.trial_id, value, hover(trial, status)) for trial, value in chosen]
        add_marks(figure, record, status, points)
    labels = {trial.trial_id: trial for trial in record.trials}
    runs = [(run, value) for run in record.full_runs if (value := finite(run.value)) is not None]
    add_marks(
        figure,
        record,
        "promoted",
        [(run.trial_id, value, _hover_run(labels, run.trial_id, run.folder)) for run, value in runs],
    )
    return figure


def learning_curves(record: StudyRecord) -> go.Figure:
    """The primary metric by epoch, one curve per trial, coloured by status; promoted runs are dashed.

    Above 1,000 trials the best 100 and an even spread of the others are drawn, and the x axis says so.
    """
    figure = blank_figure("epoch", record.metric.label, height_px=460)
    every = curves(record)
    if not every:
        return say_empty(figure, "No evaluation yet.")
    drawn = _fewer(record, every)
    value_axis(figure, record.metric, [value for curve in drawn for value in curve.values])
    figure.update_xaxes(title_text=_thinning_words(every, drawn))
    count_axis(figure, max(curve.epochs[-1] for curve in drawn))
    for (name, mode), line in _lines(record, drawn).items():
        _add_curves(figure, record, name, mode, line, crowd=len(drawn))
    _mark_rungs(figure, record)
    return figure


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
    """All curves of one status as one trace with gaps: plotly draws that far faster than a trace each."""

    x: list[int | None] = field(default_factory=list)
    y: list[float | None] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def add(self, curve: Curve, label: str) -> None:
        self.x += [*curve.epochs, None]
        self.y += [*curve.values, None]
        self.text += [label] * (len(curve.values) + 1)


def _lines(record: StudyRecord, drawn: Sequence[Curve]) -> dict[tuple[str, str], _Line]:
    """Curves by status and plotly's mode: marks in a small study, else only where there is no line to see."""
    trials = {trial.trial_id: trial for trial in record.trials}
    small = sum(len(curve.values) for curve in drawn) <= MAX_MARKED_POINTS
    lines: dict[tuple[str, str], _Line] = {
        (name, mode): _Line() for name in COLOURS for mode in ("lines+markers", "lines", "markers")
    }
    for curve in drawn:
        mode = "lines+markers" if small else "lines" if len(curve.values) > 1 else "markers"
        trial = trials.get(curve.trial_id)
        if curve.run:
            lines["promoted", mode].add(curve, _hover_run(trials, curve.trial_id, curve.run))
        elif trial is not None:
            lines[trial.status, mode].add(curve, hover(trial, trial.status))
    return {key: line for key, line in lines.items() if line.x}


def _add_curves(figure: go.Figure, record: StudyRecord, name: str, mode: str, line: _Line, *, crowd: int) -> None:
    promoted = name == "promoted"
    digits = metric_format(record.metric)
    width = 2 if promoted or crowd <= 60 else 1 if crowd <= 300 else 0.5
    figure.add_scatter(
        x=line.x,
        y=line.y,
        text=line.text,
        mode=mode,
        marker={"color": COLOURS[name], "size": 3 + 1.5 * width, "symbol": SYMBOLS[name]},
        line={"color": COLOURS[name], "width": width, "dash": "dash" if promoted else "solid"},
        opacity=1.0 if width == 2 else 0.6,
        connectgaps=False,
        name=f"{name}, one evaluation" if mode == "markers" else name,
        hovertemplate=f"%{{text}}<br>epoch %{{x}}: <b>%{{y:{digits}}}</b><extra></extra>",
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
    return Curve(curve.trial_id, curve.run, epochs, [curve.values[place] for place in places])


def _thinning_words(every: Sequence[Curve], drawn: Sequence[Curve]) -> str:
    notes = []
    if len(drawn) < len(every):
        notes.append(f"{len(drawn):,} of {plural(len(every), 'curve')} drawn")
    before, after = max(len(curve.values) for curve in every), max(len(curve.values) for curve in drawn)
    if after < before:
        notes.append(f"at most {after} of {before} points each")
    return f"epoch ({', '.join(notes)})" if notes else "epoch"


def best_so_far(record: StudyRecord, when: Mapping[int, float]) -> list[tuple[float, float]]:
    """Steps of the best value among the trials on the highest rung: other rungs' values do not compare.

    `when` is where each trial stands on the x axis; one that is not in it is left out.
    """
    competitors = [trial for trial in ranked(record) if trial.trial_id in when]
    if not competitors:
        return []
    rung = competitors[0].rung
    steps: list[tuple[float, float]] = []
    for trial in sorted(competitors, key=lambda trial: when[trial.trial_id]):
        value = finite(trial.value)
        if trial.rung != rung or value is None:
            continue
        if not steps or gain(record.metric, value) > gain(record.metric, steps[-1][1]):
            steps.append((when[trial.trial_id], value))
    return [*steps, (max(when.values()), steps[-1][1])]


def add_best(figure: go.Figure, steps: list[tuple[float, float]]) -> None:
    """The line of the best so far; nothing where there is none."""
    if steps:
        figure.add_scatter(
            x=[place for place, _ in steps],
            y=[value for _, value in steps],
            mode="lines",
            line={"color": NEUTRAL, "width": 2, "shape": "hv"},
            name="best so far",
            hoverinfo="skip",
        )


def add_marks(figure: go.Figure, record: StudyRecord, status: str, points: Iterable[tuple[float, float, str]]) -> None:
    """Marks of one status: points as (x, value, what hovering says)."""
    marks = list(points)
    if not marks:
        return
    figure.add_scatter(
        x=[trial_id for trial_id, _, _ in marks],
        y=[value for _, value, _ in marks],
        text=[text for _, _, text in marks],
        mode="markers",
        marker={
            "color": COLOURS[status],
            "symbol": SYMBOLS[status],
            "size": 13 if status == "promoted" else (9 if len(record.trials) <= 300 else 6),
            "opacity": 0.95 if len(record.trials) <= 300 else 0.7,
        },
        name=status,
        hovertemplate=f"%{{text}}<br><b>%{{y:{metric_format(record.metric)}}}</b><extra></extra>",
    )


def hover(trial: Trial, status: str) -> str:
    """What a mark of a trial says of it: its number, status and first parameters."""
    shown = list(trial.params.items())[:MAX_HOVER_PARAMS]
    lines = [f"<b>trial {trial.trial_id}</b> ({status})"]
    lines += [f"{plain(shorten(key, 40))} = {plain(_brief(value))}" for key, value in shown]
    if len(trial.params) > len(shown):
        lines.append(f"and {plural(len(trial.params) - len(shown), 'more parameter')}")
    return "<br>".join(lines)


def _hover_run(trials: dict[int, Trial], trial_id: int, folder: str) -> str:
    trial = trials.get(trial_id)
    words = f"promoted, {plain(shorten(folder, 60))}"
    return f"<b>trial {trial_id}</b> ({words})" if trial is None else hover(trial, words)


def _brief(value: Any) -> str:
    return shorten(param_text(value), 48)
