"""Puts sections together into one HTML file that opens offline: styles, scripts, plots and images are embedded."""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from reports.markup import Section, esc
from reports.plot_style import COLOURS
from reports.record import StudyRecord

PLOT_CLASS = "plot"
SIGNIFICANT_DIGITS = 5
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Cpath fill='%230072b2' d='M1 11h4v4H1zM6 6h4v9H6zM11 1h4v14h-4z'/%3E%3C/svg%3E"
)


def figure_html(name: str, figure: go.Figure, alt: str, caption: str = "") -> str:
    """A figure as compact JSON that the script of the page draws. `caption` is HTML, `alt` plain text."""
    height = int(figure.layout.height or 420)
    figcaption = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f'<figure class="{PLOT_CLASS}" id="plot-{esc(name)}">'
        f'<div class="canvas" role="img" aria-label="{esc(alt)}" style="min-height:{height}px"></div>'
        f"<noscript><p>This plot needs JavaScript. {esc(alt)}</p></noscript>"
        f'<script type="application/json">{figure_json(figure)}</script>{figcaption}</figure>'
    )


def figure_json(figure: go.Figure) -> str:
    """The figure as JSON that is safe inside a script element; floats are rounded to five significant digits.

    A list with runs of equal texts is compressed to `{"runs": [[count, text], …]}`; report.js expands it.
    """
    spec = figure.to_plotly_json()
    compact = {"data": [_compact(trace) for trace in spec["data"]], "layout": _compact(spec["layout"])}
    text = json.dumps(compact, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def page(record: StudyRecord, sections: Sequence[tuple[str, Section]]) -> str:
    """The whole document. The name of a section is its anchor."""
    body = "\n".join(_section_html(name, section) for name, section in sections)
    scripts = [asset("report.js")]
    if f'<figure class="{PLOT_CLASS}"' in body:
        scripts.insert(0, _plotly_script())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{esc(record.name)} – study report</title>
<link rel="icon" href="{ICON}">
<style>{_palette_css()}{asset("report.css")}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the report</a>
{_header(record)}
{_contents(sections)}
<main id="content">
{body}
</main>
<footer><p>Written by rungwise{_when(record)}.</p></footer>
{"".join(f"<script>{script}</script>" for script in scripts)}
</body>
</html>
"""


@functools.cache
def asset(name: str) -> str:
    """The text of a file in `reports/assets`, with the line ends that a browser will see."""
    return resources.files("reports").joinpath("assets", name).read_text("utf-8").replace("\r\n", "\n")


@functools.cache
def _plotly_script() -> str:
    # A browser normalises CR LF to LF before it computes the hash.
    return str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")


@functools.cache
def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _policy(scripts: Sequence[str]) -> str:
    """Nothing is loaded from outside and only our scripts run. Plotly sets inline styles and saves images as blobs."""
    return (
        f"default-src 'none'; script-src {' '.join(_hash(script) for script in scripts)}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _palette_css() -> str:
    return ":root{" + "".join(f"--{name}:{colour};" for name, colour in COLOURS.items()) + "}\n"


def _header(record: StudyRecord) -> str:
    facts = [fact for fact in (record.task, record.metric.label, record.budget_words) if fact]
    state = '<span class="chip running">still running</span>' if record.in_progress else ""
    return (
        f'<header><p class="kind">Study report {state}</p><h1>{esc(record.name)}</h1>'
        f'<p class="facts-line">{" · ".join(esc(fact) for fact in facts)}</p></header>'
    )


def _contents(sections: Sequence[tuple[str, Section]]) -> str:
    links = "".join(f'<li><a href="#{esc(name)}">{esc(section.title)}</a></li>' for name, section in sections)
    return f'<nav aria-label="Sections"><ol>{links}</ol></nav>'


def _section_html(name: str, section: Section) -> str:
    anchor = esc(name)
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">'
        f'<h2 id="{anchor}-title">{esc(section.title)}</h2>\n{section.body}</section>'
    )


def _when(record: StudyRecord) -> str:
    time = f" at {esc(record.generated_at)}" if record.generated_at else ""
    return time + (" while the study was running" if record.in_progress else "")


def _compact(value: Any) -> Any:
    """Plain JSON values: floats rounded, NaN as null, runs of equal texts compressed."""
    if isinstance(value, float):
        return _rounded(value)
    if isinstance(value, Mapping):
        return {key: _compact(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        all_text = all(isinstance(item, str) for item in value)
        return _compressed(value) if all_text else [_compact(item) for item in value]
    return value


def _rounded(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _compressed(values: Sequence[str]) -> Any:
    runs = [[len(list(group)), text] for text, group in itertools.groupby(values)]
    return {"runs": runs} if len(runs) * 2 < len(values) else list(values)
