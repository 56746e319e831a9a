"""The learning curves of the trials."""

from __future__ import annotations

from reports.curves import curves
from reports.figures_curves import learning_curves
from reports.formatting import plural
from reports.markup import Section, esc
from reports.record import StudyRecord
from reports.render import figure_html


def section(record: StudyRecord) -> Section | None:
    """The learning curves; None before the first evaluation."""
    all_curves = curves(record)
    if not all_curves:
        return None
    label = record.metric.label
    promoted = any(curve.run for curve in all_curves)
    caption = f"{esc(label)} on the validation set after each evaluation, one line per trial."
    if promoted:
        caption += " Dashed lines are promoted runs at full budget."
    if len(record.rungs) > 1:
        caption += " The bands are the rungs: values on different rungs cannot be compared."
        caption += " The buttons switch between colours by status and by rung."
    caption += " Click a name in the legend to hide it; double-click to show it alone."
    alt = f"Learning curves: {label} by epoch for {plural(len(all_curves), 'run')}."
    return Section("Learning curves", figure_html("curves", learning_curves(record), alt, caption))
