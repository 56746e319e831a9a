"""The plots of time and cost: values over time, and what the search spent and saved."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from reports.figures_history import add_trials
from reports.formatting import finite
from reports.plot_style import COLOURS, NEUTRAL, blank_figure, faded, show_message
from reports.record import StudyRecord
from reports.spending import Spent, by_status, saved


def time_unit(seconds: float) -> tuple[str, float]:
    """A suitable unit for a length of time, and the unit in seconds."""
    if seconds < 180:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 3 * 3600 else ("hours", 3600.0)


def ended_at(record: StudyRecord) -> dict[int, float]:
    """Trial → end of its last evaluation in seconds of the study; trials without a known time are left out."""
    ended: dict[int, float] = {}
    for evaluation in record.evaluations:
        when = finite(evaluation.ended_at)
        if not evaluation.run and when is not None:
            ended[evaluation.trial_id] = max(when, ended.get(evaluation.trial_id, 0.0))
    return ended


def history_over_time(record: StudyRecord) -> go.Figure:
    """The value of each trial at the end of its last evaluation, and the best so far of those on the highest rung."""
    ended = ended_at(record)
    unit, size = time_unit(max(ended.values(), default=0.0))
    figure = blank_figure(f"{unit} of study time", record.metric.label)
    when = {trial_id: seconds / size for trial_id, seconds in ended.items()}
    if add_trials(figure, record, when, "No times were recorded."):
        figure.update_xaxes(rangemode="tozero")
    return figure


def cost(record: StudyRecord) -> go.Figure:
    """What the search spent and saved, by status."""
    return cost_bars(by_status(record), saved(record))


def cost_bars(spent: Mapping[str, Spent], avoided: Spent) -> go.Figure:
    """Epochs, images and time by status, as shares of the cost of training every trial to the end."""
    total, segments = sum(spent.values(), Spent()), {**spent, "saved": avoided}
    rows: dict[str, list[float]] = {"epochs": [part.epochs for part in segments.values()]}
    if total.images:
        rows["images"] = [part.images for part in segments.values()]
    if total.seconds and avoided.seconds is not None:
        rows["time"] = [part.seconds or 0.0 for part in segments.values()]
    figure = blank_figure("share of training every trial to the end", height_px=120 + 44 * len(rows))
    whole = {row: sum(amounts) for row, amounts in rows.items() if sum(amounts) > 0}
    if not whole:
        return show_message(figure, "Nothing has been spent yet.")
    for place, name in enumerate(segments):
        shares = [rows[row][place] / whole[row] for row in whole]
        if not any(shares):
            continue
        figure.add_bar(
            x=shares,
            y=list(whole),
            orientation="h",
            name=name,
            marker={"color": faded(NEUTRAL, 0.25) if name == "saved" else COLOURS[name]},
            text=[f"{share:.0%}" if share >= 0.06 else "" for share in shares],
            textposition="inside",
            insidetextanchor="middle",
            insidetextfont={"color": NEUTRAL if name == "saved" else "#1c2530"},
            textangle=0,
            hovertemplate=f"{name}, %{{y}}: %{{x:.1%}}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.3, legend={"traceorder": "normal"})
    figure.update_xaxes(tickformat=".0%", range=(0, 1))
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure
