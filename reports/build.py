"""Builds the HTML report of a `StudyRecord`. Adding a section takes one file and one line in the table here."""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Mapping

import plotly.graph_objects as go

from reports import render
from reports.markup import Section, esc
from reports.record import StudyRecord

# In the order of the page. A section is a function of the record; it returns None if it has nothing to show.
SECTIONS: Mapping[str, str] = {
    "summary": "reports.sections.summary:section",
    "promoted": "reports.sections.promoted:section",
    "history": "reports.sections.history:section",
    "curves": "reports.sections.curves:section",
    "funnel": "reports.sections.funnel:section",
    "leaders": "reports.sections.leaders:section",
    "samples": "reports.sections.samples:section",
    "parameters": "reports.sections.parameters:section",
    "agreement": "reports.sections.agreement:section",
    "slots": "reports.sections.slots:section",
    "cost": "reports.sections.cost:section",
    "failures": "reports.sections.failures:section",
    "reproduce": "reports.sections.reproduce:section",
}

# Figures for a notebook: functions of the record, in the style of the report.
FIGURES: Mapping[str, str] = {
    "history": "reports.figures_history:optimisation_history",
    "history_over_time": "reports.figures_time:history_over_time",
    "curves": "reports.figures_curves:learning_curves",
    "rungs": "reports.figures_rungs:rung_flow",
    "importance": "reports.figures_parameters:importance",
    "parallel": "reports.figures_parameters:parallel",
    "contour": "reports.figures_parameters:contour",
    "confusion": "reports.figures_classes:confusion",
    "slots": "reports.figures_slots:slots",
    "cost": "reports.figures_time:cost",
}

log = logging.getLogger(__name__)


def build_report(record: StudyRecord, sections: Mapping[str, str] = SECTIONS) -> str:
    """The report as one HTML document. A section that fails shows its error; the others are not affected."""
    built = ((name, _build_section(name, target, record)) for name, target in sections.items())
    return render.page(record, [(name, section) for name, section in built if section is not None])


def figure(name: str, record: StudyRecord) -> go.Figure:
    """The figure with this name in `FIGURES`, drawn from a record; `KeyError` if there is none."""
    if name not in FIGURES:
        raise KeyError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    return pkgutil.resolve_name(FIGURES[name])(record)


def _build_section(name: str, target: str, record: StudyRecord) -> Section | None:
    try:
        section: Section | None = pkgutil.resolve_name(target)(record)
    # Reports are written during training: an error in a section must not stop hours of work, nor be hidden.
    except Exception as error:
        log.warning("section %r of the report could not be drawn", name, exc_info=True)
        message = f"This section could not be drawn: {type(error).__name__}: {error}"
        return Section(name.capitalize(), f'<p class="note warn" role="alert">{esc(message)}</p>')
    return section
