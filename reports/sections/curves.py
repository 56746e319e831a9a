"""How each trial learned, epoch by epoch."""

from __future__ import annotations

from reports.figures_curves import learning_curves
from reports.markup import Section, esc
from reports.ranking import curves
from reports.record import StudyRecord
from reports.render import figure_html
from reports.words import plural


def section(record: StudyRecord) -> Section | None:
    """The learning curves; None before the first evaluation."""
    every = curves(record)
    if not every:
        return None
    label = record.metric.label
    promoted = any(curve.run for curve in every)
    caption = f"{esc(label)} on the validation set after each evaluation, one line per trial."
    if promoted:
        caption += " Dashed: promoted runs at full budget."
    if len(record.rungs) > 1:
        caption += " The bands are the rungs: values on both sides of an edge do not compare."
        caption += " The buttons choose the colours: what became of the trials, or the rungs."
    caption += " Click on a name in the legend to hide it, twice to see it alone."
    alt = f"Learning curves: {label} by epoch for {plural(len(every), 'run')}."
    return Section("Learning curves", figure_html("curves", learning_curves(record), alt, caption))
