"""The optimisation history, and the marks of trials that all plots share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from reports.formatting import finite, metric_format, param_text, plural, shorten
from reports.plot_style import (
    LOOKS,
    NEUTRAL,
    blank_figure,
    count_axis,
    plain,
    show_message,
    value_axis,
)
from reports.ranking import ranked
from reports.record import StudyRecord, Trial

MAX_HOVER_PARAMS = 8


def optimisation_history(record: StudyRecord) -> go.Figure:
    """The value of each trial in the order of the trials, and the best so far of those on the highest rung."""
    figure = blank_figure("trial", record.metric.label)
    by_id = {trial.trial_id: trial for trial in record.trials}
    drawn = add_trials(figure, record, dict(zip(by_id, by_id, strict=True)), "No trial has a value yet.")
    if not drawn:
        return figure
    count_axis(figure, max(trial.trial_id for trial in drawn))
    runs = [(run, value) for run in record.full_runs if (value := finite(run.value)) is not None]
    points = [(run.trial_id, value, hover_run(by_id, run.trial_id, run.folder)) for run, value in runs]
    _add_marks(figure, record, "promoted", points)
    return figure


def add_trials(figure: go.Figure, record: StudyRecord, when: Mapping[int, float], nothing: str) -> list[Trial]:
    """Add the marks of the trials with a value and the line of the best so far, or without any the text `nothing`.

    `when` maps trials to positions on the x axis; a trial without one is left out. Returns the others.
    """
    chosen = [trial for trial in record.trials if trial.trial_id in when]
    valued = [(trial, value) for trial in chosen if (value := finite(trial.value)) is not None]
    if not valued:
        show_message(figure, nothing)
        return []
    value_axis(figure, record.metric, [value for _, value in valued])
    steps = best_so_far(record, when)
    if steps:
        x, y = zip(*steps, strict=True)
        line = {"color": NEUTRAL, "width": 2, "shape": "hv"}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, name="best so far", hoverinfo="skip")
    for status in LOOKS:
        points = [(when[t.trial_id], value, hover(t, status)) for t, value in valued if t.status == status]
        _add_marks(figure, record, status, points)
    return [trial for trial, _ in valued]


def best_so_far(record: StudyRecord, when: Mapping[int, float]) -> list[tuple[float, float]]:
    """Steps of the best value of the trials on the highest rung, as values on other rungs cannot be compared.

    `when` maps trials to positions on the x axis; a trial without one is left out.
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
        if not steps or record.metric.sort_key(value) < record.metric.sort_key(steps[-1][1]):
            steps.append((when[trial.trial_id], value))
    return [*steps, (max(when.values()), steps[-1][1])]


def _add_marks(figure: go.Figure, record: StudyRecord, status: str, points: Sequence[tuple[float, float, str]]) -> None:
    """Add the marks of one status; `points` are (x, value, hover text)."""
    if not points:
        return
    (colour, symbol), (x, y, text) = LOOKS[status], zip(*points, strict=True)
    figure.add_scatter(
        x=x,
        y=y,
        text=text,
        mode="markers",
        marker={
            "color": colour,
            "symbol": symbol,
            "size": 13 if status == "promoted" else (9 if len(record.trials) <= 300 else 6),
            "opacity": 0.95 if len(record.trials) <= 300 else 0.7,
        },
        name=status,
        hovertemplate=f"%{{text}}<br><b>%{{y:{metric_format(record.metric)}}}</b><extra></extra>",
    )


def hover(trial: Trial, status: str) -> str:
    """The hover text of a trial: its number, status and first parameters."""
    shown = list(trial.params.items())[:MAX_HOVER_PARAMS]
    lines = [f"<b>trial {trial.trial_id}</b> ({status})"]
    lines += [f"{plain(shorten(key, 40))} = {plain(shorten(param_text(value), 48))}" for key, value in shown]
    if len(trial.params) > len(shown):
        lines.append(f"and {plural(len(trial.params) - len(shown), 'more parameter')}")
    return "<br>".join(lines)


def hover_run(trials: Mapping[int, Trial], trial_id: int, folder: str) -> str:
    """The hover text of a promoted run: that of its trial, with the folder of the run."""
    trial = trials.get(trial_id)
    status = f"promoted, {plain(shorten(folder, 60))}"
    return f"<b>trial {trial_id}</b> ({status})" if trial is None else hover(trial, status)
