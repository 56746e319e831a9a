"""The influence of the parameters on the result."""

from __future__ import annotations

from reports.figures_parameters import (
    MAX_AXES,
    MAX_CONTOURED,
    MAX_PARALLEL,
    MAX_SLICED,
    contour_of,
    importance_bars,
    parallel_coordinates,
    ranks_of,
    slice_of,
)
from reports.formatting import joined, plural
from reports.markup import Section, esc, paragraph, scroller
from reports.parameter_study import (
    LEAST_FOR_IMPORTANCE,
    ParameterStudy,
    at_most,
    by_importance,
    importances,
    parameter_study,
    top_pair,
)
from reports.record import StudyRecord
from reports.render import figure_html
from reports.rungs import rung_count, rung_words

LEAST_TRIALS = 3
MAX_SLICES = 6


def section(record: StudyRecord) -> Section | None:
    """Importance, slices, parallel coordinates, contour and ranks; None if no parameter varies between trials."""
    compared = parameter_study(record)
    if compared is None or len(compared.trials) < LEAST_TRIALS:
        return None
    shares = importances(compared)
    names = by_importance(compared, shares)
    parts = [paragraph(_basis(record, compared)), _importance(compared, shares), _slices(record, compared, names)]
    if len(names) > 1:
        parts.append(_parallel(record, compared, names))
    pair = top_pair(compared, names)
    if pair:
        parts.append(_both(record, compared, pair))
    return Section("Parameters", "\n".join(parts))


def _basis(record: StudyRecord, compared: ParameterStudy) -> str:
    """Which trials these plots compare, and by which value."""
    trials = plural(len(compared.trials), "trial")
    if rung_count(record) < 2:
        return f"{trials}, each by its last {esc(record.metric.label)}, also those that were pruned."
    description = rung_words(record, compared.rung)
    rung = f"rung {compared.rung}" + (f" ({description})" if description else "")
    return (
        f"{trials}, each by its {esc(record.metric.label)} on {esc(rung)}: values on different rungs "
        f"cannot be compared, and no higher rung has {LEAST_FOR_IMPORTANCE} trials."
    )


def _importance(compared: ParameterStudy, shares: dict[str, float]) -> str:
    if len(compared.trials) < LEAST_FOR_IMPORTANCE:
        return paragraph(
            f"The importance of parameters needs at least {LEAST_FOR_IMPORTANCE} trials; there are "
            f"{len(compared.trials)}.",
            kind="quiet",
        )
    if not shares or len(compared.names) < 2:
        return ""
    uncertain = len(compared.trials) < 5 * LEAST_FOR_IMPORTANCE
    caption = [
        "The importance of each parameter for being among the best trials, as shares of their sum (PED-ANOVA).",
        f"With {len(compared.trials)} trials it is only a rough indication." if uncertain else "",
        *(
            f"{esc(name)} is evaluated over the {len(compared.trials) - count} trials that have it."
            for name, count in list(compared.lacking.items())[:MAX_SLICES]
        ),
    ]
    summary = joined([f"{name} {share:.0%}" for name, share in list(shares.items())[:MAX_SLICES]])
    html = figure_html(
        "importance", importance_bars(shares), f"Importance: {summary}.", " ".join(filter(None, caption))
    )
    return f"<h3>Importance</h3>{html}"


def _slices(record: StudyRecord, compared: ParameterStudy, names: list[str]) -> str:
    label, chosen = record.metric.label, at_most(compared, MAX_SLICED)
    plots = "".join(
        figure_html(f"slice-{number}", slice_of(record, chosen, name), f"{label} over {name}.")
        for number, name in enumerate(names[:MAX_SLICES], start=1)
    )
    notes = ["Darker points are later trials."]
    if len(names) > MAX_SLICES:
        notes.append(f"{MAX_SLICES} of {len(names)} parameters are shown.")
    return f'<h3>Each parameter</h3><div class="plots">{plots}</div>' + paragraph(
        *notes, _thinned(compared, MAX_SLICED), kind="quiet"
    )


def _parallel(record: StudyRecord, compared: ParameterStudy, names: list[str]) -> str:
    caption = [
        "One line per trial.",
        "The line of a trial that lacks a parameter passes below its axis." if compared.lacking else "",
        _thinned(compared, MAX_PARALLEL),
    ]
    if len(names) > MAX_AXES:
        caption.append(f"{MAX_AXES} of {len(names)} parameters are shown.")
    alt = f"Parallel coordinates of {plural(min(len(compared.trials), MAX_PARALLEL), 'trial')}."
    figure = parallel_coordinates(record, compared, names)
    html = figure_html("parallel", figure, alt, " ".join(filter(None, caption)))
    return "<h3>All parameters</h3>" + scroller("Parallel coordinates", f'<div class="broad">{html}</div>')


def _both(record: StudyRecord, compared: ParameterStudy, pair: tuple[str, str]) -> str:
    label, names = record.metric.label, f"{pair[0]} and {pair[1]}"
    contour = (
        f"{esc(label)}, interpolated between the trials, which are the points. {_thinned(compared, MAX_CONTOURED)}"
    )
    ranks = f"The trials by rank of their {esc(label)}. {_thinned(compared, MAX_SLICED)}"
    return (
        f'<h3>{esc(names)}</h3><div class="plots">'
        + figure_html("contour", contour_of(record, compared, pair), f"{label} over {names}.", contour)
        + figure_html("ranks", ranks_of(compared, pair), f"Ranks of {label} over {names}.", ranks)
        + "</div>"
    )


def _thinned(compared: ParameterStudy, limit: int) -> str:
    count = len(compared.trials)
    return f"{limit} of {count:,} trials are shown, half of them the best." if count > limit else ""
