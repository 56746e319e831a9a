"""The plots of parameters: Optuna's own in the report's style, and parallel coordinates.

Plotly's parallel coordinates need WebGL and compile functions from strings, which the security policy of the page
forbids, so they are drawn here as lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from optuna.distributions import CategoricalDistribution
from optuna.visualization import plot_contour, plot_rank, plot_slice

from reports.figures_history import hover
from reports.formatting import four_digits, metric_format, metric_text, shorten
from reports.parameter_study import ParameterStudy, at_most, by_importance, importances, parameter_study, top_pair
from reports.plot_style import COLOURS, NEUTRAL, SEQUENCE, TEMPLATE, blank_figure, plain, show_message, value_axis
from reports.ranking import best_first
from reports.record import StudyRecord

# The largest numbers of trials in each plot.
MAX_SLICED = 600
MAX_CONTOURED = 80  # the grid of a contour plot has the square of this number
MAX_PARALLEL = 200
MAX_AXES = 8
TOO_FEW = "There are too few trials to compare."
LACKING = -0.22  # height of a line at the axis of a parameter that the trial lacks; the axis runs from 0 to 1
BANDS = (("best fifth", COLOURS["running"], 0.9), ("next two fifths", COLOURS["paused"], 0.5), ("rest", NEUTRAL, 0.3))


def importance_bars(shares: Mapping[str, float]) -> go.Figure:
    """The importance of each parameter, the largest on top."""
    names = list(shares)[::-1]
    figure = blank_figure(height_px=40 + 34 * len(names))
    figure.add_bar(
        x=[shares[name] for name in names],
        y=[_short_name(name) for name in names],
        customdata=names,
        orientation="h",
        marker={"color": COLOURS["running"]},
        text=[f"{shares[name]:.0%}" for name in names],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
    )
    figure.update_layout(bargap=0.35, margin={"t": 8, "r": 48, "b": 16})
    figure.update_xaxes(visible=False, rangemode="tozero")
    figure.update_yaxes(type="category", showgrid=False)
    return figure


def slice_of(record: StudyRecord, compared: ParameterStudy, name: str) -> go.Figure:
    """The metric over one parameter; later trials are darker. Trials without the parameter are left out."""
    chosen = at_most(compared, MAX_SLICED)
    figure = _restyled(plot_slice(chosen.study, params=[name], target_name=plain(record.metric.label)), 300)
    values = [float(trial.value or 0.0) for trial in chosen.study.get_trials(deepcopy=False)]
    value_axis(figure, record.metric, values)
    figure.update_traces(
        text=_hover_texts(chosen, name),
        marker={"size": 8, "opacity": 0.85, "colorscale": SEQUENCE, "showscale": False, "line": {"width": 0}},
        hovertemplate=f"%{{text}}<br><b>%{{y:{metric_format(record.metric)}}}</b><extra></extra>",
        selector={"type": "scatter"},
    )
    figure.update_yaxes(rangemode="normal")
    return _sparse_ticks(figure)


def contour_of(record: StudyRecord, compared: ParameterStudy, pair: Sequence[str]) -> go.Figure:
    """The metric over two parameters, interpolated between the trials."""
    chosen = at_most(compared, MAX_CONTOURED)
    figure = _restyled(plot_contour(chosen.study, params=list(pair), target_name=plain(record.metric.label)), 400)
    bar = {"thickness": 10, "outlinewidth": 0, "title": {"text": plain(shorten(record.metric.label, 20))}}
    figure.update_traces(
        colorscale=SEQUENCE, reversescale=False, colorbar=bar, line={"width": 0.5, "color": NEUTRAL},
        selector={"type": "contour"},
    )  # fmt: skip
    figure.update_traces(
        text=_hover_texts(chosen, *pair), hovertemplate="%{text}<extra></extra>",
        marker={"color": "#1c2530", "size": 6, "line": {"width": 1, "color": "#ffffff"}}, selector={"type": "scatter"},
    )  # fmt: skip
    return _sparse_ticks(figure)


def ranks_of(compared: ParameterStudy, pair: Sequence[str]) -> go.Figure:
    """The trials over two parameters, coloured by the rank of their value."""
    chosen = at_most(compared, MAX_SLICED)
    figure = _restyled(plot_rank(chosen.study, params=list(pair)), 400)
    marks, scale = figure.data
    marks.update(
        hovertext=_hover_texts(chosen, *pair),
        marker={"size": 9, "line": {"width": 0.5, "color": NEUTRAL}},
    )
    ends = ["lowest", "median", "highest"]
    scale.marker.colorbar.update(tickvals=[0, 0.5, 1], ticktext=ends, outlinewidth=0)
    return _sparse_ticks(figure)


def parallel_coordinates(record: StudyRecord, compared: ParameterStudy, names: Sequence[str]) -> go.Figure:
    """One line per trial over the axes of the parameters and the metric; it passes below the axis of a missing one."""
    chosen = at_most(compared, MAX_PARALLEL)
    frozen = chosen.study.get_trials(deepcopy=False)
    shown = list(names)[:MAX_AXES]
    columns, ends_of = map(list, zip(*(_axis(chosen, name) for name in shown), strict=True))
    values = [float(trial.value or 0.0) for trial in frozen]
    low, high = min(values), max(values)
    figure = blank_figure(height_px=420)
    order = best_first(record.metric, values)
    cuts = (0, math.ceil(len(frozen) / 5), math.ceil(len(frozen) * 3 / 5), len(frozen))
    for place in (2, 1, 0):
        label, colour, opacity = BANDS[place]
        x: list[int | None] = []
        y: list[float | None] = []
        text: list[str] = []
        for index in order[cuts[place] : cuts[place + 1]]:
            height = (values[index] - low) / (high - low) if high > low else 0.5
            x += [*range(len(shown) + 1), None]
            y += [*(column.get(index, LACKING) for column in columns), height, None]
            text += [hover(chosen.trials[index], chosen.trials[index].status)] * (len(shown) + 2)
        figure.add_scatter(
            x=x, y=y, text=text, mode="lines+markers", name=label, line={"color": colour, "width": 1.5},
            marker={"size": 4, "color": colour}, opacity=opacity, connectgaps=False,
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    ends_of.append((metric_text(record.metric, low), metric_text(record.metric, high)))
    for place in (place for place, column in enumerate(columns) if len(column) < len(frozen)):
        figure.add_annotation(
            text="none", x=place, y=LACKING, yanchor="top", showarrow=False, font={"size": 11}, yshift=-4
        )
    for place, (bottom, top) in enumerate(ends_of):
        figure.add_shape(
            type="line", x0=place, x1=place, y0=0, y1=1, line={"color": NEUTRAL, "width": 1}, layer="below"
        )
        for label, height, anchor in ((bottom, 0, "top"), (top, 1, "bottom")):
            figure.add_annotation(
                text=label, x=place, y=height, yanchor=anchor, showarrow=False, font={"size": 11},
                yshift=-4 + 8 * height,
            )  # fmt: skip
    labels = [*(_short_name(name) for name in shown), plain(shorten(record.metric.label, 20))]
    figure.update_xaxes(tickvals=list(range(len(labels))), ticktext=labels, showgrid=False, tickangle=-30)
    figure.update_xaxes(range=(-0.35, len(labels) - 0.65))
    figure.update_yaxes(visible=False, range=(LACKING - 0.12 if any(map(compared.lacking.get, shown)) else -0.12, 1.12))
    return figure


def importance(record: StudyRecord) -> go.Figure:
    """PED-ANOVA's importance of each parameter; needs at least ten trials."""
    compared = parameter_study(record)
    shares = importances(compared) if compared else {}
    return importance_bars(shares) if shares else show_message(blank_figure(), TOO_FEW)


def parallel(record: StudyRecord) -> go.Figure:
    """Parallel coordinates of all parameters, the most important first."""
    compared = parameter_study(record)
    return (
        parallel_coordinates(record, compared, by_importance(compared))
        if compared
        else show_message(blank_figure(), TOO_FEW)
    )


def contour(record: StudyRecord) -> go.Figure:
    """The metric over the two most important parameters."""
    compared = parameter_study(record)
    pair = top_pair(compared, by_importance(compared)) if compared else None
    return contour_of(record, compared, pair) if compared and pair else show_message(blank_figure(), TOO_FEW)


def _axis(compared: ParameterStudy, name: str) -> tuple[dict[int, float], tuple[str, str]]:
    """Index of a trial → the position of its value on the axis, from 0 to 1; and the labels of the axis's two ends."""
    frozen = compared.study.get_trials(deepcopy=False)
    values = {index: trial.params[name] for index, trial in enumerate(frozen) if name in trial.params}
    distribution: Any = frozen[next(iter(values))].distributions[name]
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        last = max(1, len(choices) - 1)
        labels = (shorten(str(choices[0]), 12), shorten(str(choices[-1]), 12))
        return {index: choices.index(value) / last for index, value in values.items()}, labels
    ends = (distribution.low, distribution.high)
    low, high = (_scaled(end, distribution) for end in ends)
    bottom, top = (f"{end:,}" if isinstance(end, int) else four_digits(end) for end in ends)
    column = {index: (_scaled(value, distribution) - low) / (high - low) for index, value in values.items()}
    return column, (bottom, top)


def _scaled(value: float, distribution: Any) -> float:
    return math.log(value) if distribution.log else float(value)


def _short_name(name: str) -> str:
    """The last two parts of a dotted key, as there is little space between axes."""
    return shorten(".".join(name.split(".")[-2:]), 22)


def _hover_texts(compared: ParameterStudy, *names: str) -> list[str]:
    """The texts of the trials that have all of these parameters."""
    frozen = compared.study.get_trials(deepcopy=False)
    pairs = zip(compared.trials, frozen, strict=True)
    return [hover(trial, trial.status) for trial, known in pairs if all(name in known.params for name in names)]


def _restyled(figure: go.Figure, height_px: int) -> go.Figure:
    """A figure of Optuna in the style of the report: without its title and without Python's quotes around texts."""
    figure.layout.template = TEMPLATE
    for trace in figure.data:
        for axis in ("x", "y"):
            if any(isinstance(value, str) for value in getattr(trace, axis) or ()):
                trace.update({axis: [_unquoted(value) for value in getattr(trace, axis)]})
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        if axis.categoryarray is not None:
            axis.categoryarray = [_unquoted(value) for value in axis.categoryarray]
    figure.update_layout(title=None, height=height_px, width=None, autosize=True, showlegend=False)
    return figure


def _unquoted(value: Any) -> Any:
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def _sparse_ticks(figure: go.Figure) -> go.Figure:
    """Label only the decades of a log axis, as digits between them look like values; a short one becomes linear."""
    for name in ("x", "y"):
        axis = figure.layout[f"{name}axis"]
        numbers = [value for trace in figure.data for value in trace[name] or () if isinstance(value, int | float)]
        if axis.type == "log" and numbers:
            wide = max(numbers) >= 30 * min(numbers) > 0
            axis.update({"exponentformat": "e", "dtick": 1} if wide else {"type": "linear", "range": None})
    return figure
