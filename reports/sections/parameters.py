"""What the parameters have to do with the result."""

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
from reports.markup import Section, esc, paragraph, scroller
from reports.parameters import LEAST_FOR_IMPORTANCE, Parameters, by_importance, few, importances, parameters, top_pair
from reports.record import StudyRecord
from reports.render import figure_html
from reports.rungs import rung_count, rung_words
from reports.words import joined, plural

LEAST_TRIALS = 3
MAX_SLICES = 6


def section(record: StudyRecord) -> Section | None:
    """Importance, slices, parallel coordinates, contour and ranks; None where no parameter varies over trials."""
    found = parameters(record)
    if found is None or len(found.trials) < LEAST_TRIALS:
        return None
    shares = importances(found)
    names = by_importance(found, shares)
    parts = [paragraph(_compared(record, found)), _importance(found, shares), _slices(record, found, names)]
    if len(names) > 1:
        parts.append(_parallel(record, found, names))
    pair = top_pair(found, names)
    if pair:
        parts.append(_both(record, found, pair))
    return Section("Parameters", "\n".join(parts))


def _compared(record: StudyRecord, found: Parameters) -> str:
    """Which trials these plots compare, and by which value."""
    trials = plural(len(found.trials), "trial")
    if rung_count(record) < 2:
        return f"{trials}, each by its last {esc(record.metric.label)}; pruned trials stand with what they had."
    words = rung_words(record, found.rung)
    where = f"rung {found.rung}" + (f" ({words})" if words else "")
    return (
        f"{trials}, each by its {esc(record.metric.label)} on {esc(where)}: values of different rungs do "
        f"not compare, and no higher rung has {LEAST_FOR_IMPORTANCE} trials."
    )


def _importance(found: Parameters, shares: dict[str, float]) -> str:
    if len(found.trials) < LEAST_FOR_IMPORTANCE:
        return paragraph(
            f"Which parameter mattered takes at least {LEAST_FOR_IMPORTANCE} trials to say; there are "
            f"{len(found.trials)}.",
            kind="quiet",
        )
    if not shares or len(found.names) < 2:
        return ""
    few = len(found.trials) < 5 * LEAST_FOR_IMPORTANCE
    caption = [
        "How much each parameter had to do with being among the best, as shares of their sum (PED-ANOVA).",
        f"From {len(found.trials)} trials it is a hint, no more." if few else "",
        *(
            f"{esc(name)} is weighed over the {len(found.trials) - count} trials that have it."
            for name, count in list(found.lacking.items())[:MAX_SLICES]
        ),
    ]
    named = joined([f"{name} {share:.0%}" for name, share in list(shares.items())[:MAX_SLICES]])
    html = figure_html("importance", importance_bars(shares), f"Importance: {named}.", " ".join(filter(None, caption)))
    return f"<h3>Importance</h3>{html}"


def _slices(record: StudyRecord, found: Parameters, names: list[str]) -> str:
    label, chosen = record.metric.label, few(found, MAX_SLICED)
    plots = "".join(
        figure_html(f"slice-{place}", slice_of(record, chosen, name), f"{label} over {name}.")
        for place, name in enumerate(names[:MAX_SLICES], start=1)
    )
    notes = ["Darker points are later trials."]
    if len(names) > MAX_SLICES:
        notes.append(f"{MAX_SLICES} of {len(names)} parameters are drawn.")
    return f'<h3>One by one</h3><div class="plots">{plots}</div>' + paragraph(
        *notes, _thinned(found, MAX_SLICED), kind="quiet"
    )


def _parallel(record: StudyRecord, found: Parameters, names: list[str]) -> str:
    caption = [
        "One line a trial.",
        "Below an axis pass the trials that lack its parameter." if found.lacking else "",
        _thinned(found, MAX_PARALLEL),
    ]
    if len(names) > MAX_AXES:
        caption.append(f"{MAX_AXES} of {len(names)} parameters are drawn.")
    alt = f"Parallel coordinates of {plural(min(len(found.trials), MAX_PARALLEL), 'trial')}."
    figure = parallel_coordinates(record, found, names)
    html = figure_html("parallel", figure, alt, " ".join(filter(None, caption)))
    return "<h3>Together</h3>" + scroller("Parallel coordinates", f'<div class="broad">{html}</div>')


def _both(record: StudyRecord, found: Parameters, pair: tuple[str, str]) -> str:
    label, names = record.metric.label, f"{pair[0]} and {pair[1]}"
    between = f"{esc(label)}, interpolated between the trials, which are the points. {_thinned(found, MAX_CONTOURED)}"
    rank = f"The trials by rank of their {esc(label)}. {_thinned(found, MAX_SLICED)}"
    return (
        f'<h3>{esc(names)}</h3><div class="plots">'
        + figure_html("contour", contour_of(record, found, pair), f"{label} over {names}.", between)
        + figure_html("ranks", ranks_of(found, pair), f"Ranks of {label} over {names}.", rank)
        + "</div>"
    )


def _thinned(found: Parameters, limit: int) -> str:
    count = len(found.trials)
    return f"{limit} of {count:,} trials are drawn, the better half of them the best." if count > limit else ""
