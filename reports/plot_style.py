"""The common style of all plots: palette, template, axes. The script of the page colours text and grid.

The palette is that of Okabe and Ito (2008), which is safe for all forms of colour blindness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from reports.formatting import DECIMALS, metric_format, visible
from reports.record import Metric

# Colour and symbol of each status, in drawing order: the most important one is last and lies on top.
LOOKS = {
    "failed": ("#d55e00", "x"),
    "pruned": ("#e69f00", "triangle-down"),
    "paused": ("#56b4e9", "square"),
    "running": ("#0072b2", "diamond"),
    "completed": ("#009e73", "circle"),
    "promoted": ("#cc79a7", "star"),
}
COLOURS = {status: colour for status, (colour, _) in LOOKS.items()}
NEUTRAL = "#7a8594"
# The use of slot time other than training, which has the colour of its rung.
SLOT_COLOURS = {"opening": "#aab3be", "evaluation": "#56b4e9", "checkpoint": "#009e73", "lost": "#d55e00"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
CLEAR = "rgba(0,0,0,0)"
# Low to high, for colours that mean an amount; both ends are visible on white and on black.
SEQUENCE = ((0.0, "#d4e6f5"), (0.5, "#6aaede"), (1.0, "#2a6fb0"))
_LOWEST_RUNG, _HIGHEST_RUNG = (206, 186, 236), (112, 66, 168)  # violet, which no status uses

TEMPLATE = {
    "layout": {
        "font": {"family": FONT, "size": 13, "color": NEUTRAL},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "colorway": list(COLOURS.values())[::-1],
        "margin": {"l": 60, "r": 16, "t": 16, "b": 56},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "font": {"family": FONT, "size": 13}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "reversed"},
        "modebar": {"bgcolor": CLEAR, "color": NEUTRAL, "activecolor": COLOURS["running"]},
        "xaxis": {"automargin": True, "zeroline": False, "gridcolor": "rgba(122,133,148,0.25)"},
        "yaxis": {"automargin": True, "zeroline": False, "gridcolor": "rgba(122,133,148,0.25)"},
    }
}


def blank_figure(x_title: str = "", y_title: str = "", height_px: int = 420) -> go.Figure:
    """An empty figure in the style of the report. Titles are plain text without markup."""
    figure = go.Figure()
    figure.update_layout(template=TEMPLATE, height=height_px, autosize=True)
    figure.update_xaxes(title_text=plain(x_title))
    figure.update_yaxes(title_text=plain(y_title))
    return figure


def rung_colour(rung: int, rungs: int) -> str:
    """The colour of a rung, counted from 1: the higher, the darker."""
    share = (rung - 1) / (rungs - 1) if rungs > 1 else 1.0
    mixed = (round(a + share * (b - a)) for a, b in zip(_LOWEST_RUNG, _HIGHEST_RUNG, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def faded(colour: str, opacity: float = 0.4) -> str:
    """A `#rrggbb` colour made transparent."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def value_axis(figure: go.Figure, metric: Metric, values: list[float]) -> None:
    """Format the y axis for the metric. A loss that spans at least two powers of ten gets a log scale."""
    figure.update_yaxes(tickformat=metric_format(metric, trimmed=True), rangemode="nonnegative")
    decimals = DECIMALS.get(metric.name)
    if decimals is not None and values and max(values) - min(values) < 10 * 10.0**-decimals:
        figure.update_yaxes(tickformat=".4~g")  # ticks with the usual decimals would look equal
    if not metric.maximize and values and 0 < min(values) * 100 <= max(values):
        figure.update_yaxes(type="log", dtick=1)


def count_axis(figure: go.Figure, last: int) -> None:
    """Whole numbers up to `last` on the x axis: otherwise a short axis would have ticks between them."""
    figure.update_xaxes(tickformat="d", dtick=1 if last <= 12 else None)


def switch(figure: go.Figure, views: Mapping[str, Sequence[bool]]) -> None:
    """Add buttons below the plot, each of which shows some of the traces; the first view is the initial one.

    Plotly always draws the pressed button in a light colour, so its text is dark on light and on dark pages.
    """
    buttons = [
        {"label": name, "method": "restyle", "args": [{"visible": list(shown)}]} for name, shown in views.items()
    ]
    colours = {"bgcolor": "#dde3e8", "bordercolor": NEUTRAL, "font": {"color": "#1c2530", "size": 12}}
    position = {"x": 1, "xanchor": "right", "y": 0, "yanchor": "top", "pad": {"t": 46, "l": 0, "r": 0, "b": 0}}
    menu = {"type": "buttons", "direction": "right", "buttons": buttons, "showactive": True, "active": 0}
    figure.update_layout(updatemenus=[{**menu, **colours, **position}], margin={"b": 92})


def show_message(figure: go.Figure, message: str) -> go.Figure:
    """Show in the middle of a figure without data why it has none."""
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(text=plain(message), showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    return figure


def plain(text: str) -> str:
    """Text that plotly shows unchanged: it would interpret tags as markup. Quotes need no escape there."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
