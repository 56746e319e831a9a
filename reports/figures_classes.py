"""The plot of a confusion matrix, and the most frequent mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from reports.formatting import finite, shorten
from reports.plot_style import SEQUENCE, blank_figure, plain, show_message
from reports.ranking import ranked
from reports.record import Matrix, StudyRecord

MAX_CLASSES = 40  # drawn; more could not be distinguished
MAX_COUNTED = 12  # up to this number of classes, cells show their counts
MAX_LABEL = 24


@dataclass(frozen=True)
class Mistake:
    """`count` samples of the class `truth` were classified as `predicted`: a `share` of that class."""

    truth: str
    predicted: str
    count: float
    share: float


def shown_matrix(record: StudyRecord) -> Matrix | None:
    """The matrix of the best trial that has one, else that of the first promoted run."""
    by_trial = {matrix.trial_id: matrix for matrix in record.matrices if not matrix.run}
    best = next((by_trial[trial.trial_id] for trial in ranked(record) if trial.trial_id in by_trial), None)
    return best or next((matrix for matrix in record.matrices if matrix.run), None)


def confusion(record: StudyRecord) -> go.Figure:
    """The confusion matrix of the best trial."""
    matrix = shown_matrix(record)
    if matrix is None:
        return show_message(blank_figure(), "No confusion matrix was recorded.")
    return confusion_of(matrix)


def confusion_of(matrix: Matrix) -> go.Figure:
    """Rows are true classes, columns are predicted classes, the colour is the share of the row.

    Of more than 40 classes, those with most mistakes are drawn, which the title of the axis says.
    """
    all_counts = _counts(matrix)
    places = _with_most_mistakes(all_counts)
    names = [plain(shorten(matrix.labels[place], MAX_LABEL)) for place in places]
    # Shortened names may be equal, and plotly would merge rows with equal names.
    ticks = list(range(len(places)))
    left_out = f" ({len(places)} of {len(matrix.labels):,}, those with most mistakes first)"
    title = "true class" + (left_out if len(places) < len(matrix.labels) else "")
    figure = blank_figure("predicted class", title, height_px=max(280, 130 + 26 * len(places)))
    counts = [[all_counts[row][column] for column in places] for row in places]
    totals = [sum(all_counts[row]) for row in places]
    few = len(places) <= MAX_COUNTED
    figure.add_heatmap(
        x=ticks,
        y=ticks,
        z=[[count / total if total else None for count in row] for row, total in zip(counts, totals, strict=True)],
        text=[
            [f"{count:g}" if few and total else "" for count in row] for row, total in zip(counts, totals, strict=True)
        ],
        texttemplate="%{text}",
        customdata=[
            [[true, name, count] for name, count in zip(names, row, strict=True)]
            for true, row in zip(names, counts, strict=True)
        ],
        hovertemplate="%{customdata[2]} × %{customdata[0]} classified as %{customdata[1]}, %{z:.1%}<extra></extra>",
        colorscale=[[share, colour] for share, colour in SEQUENCE],
        zmin=0,
        zmax=1,
        xgap=1,
        ygap=1,
        colorbar={"title": {"text": "share of<br>true class"}, "tickformat": ".0%", "thickness": 12},
    )
    for axis in (figure.update_xaxes, figure.update_yaxes):
        axis(tickvals=ticks, ticktext=names, showgrid=False)
    figure.update_xaxes(tickangle=0 if few and max(map(len, names)) <= 8 else -45)
    figure.update_yaxes(autorange="reversed")
    return figure


def mistakes(matrix: Matrix, most: int) -> list[Mistake]:
    """The `most` most frequent mistakes, in this order."""
    wrong: list[Mistake] = []
    for truth, counts in enumerate(_counts(matrix)):
        total = sum(counts)
        wrong += [
            Mistake(matrix.labels[truth], matrix.labels[predicted], count, count / total)
            for predicted, count in enumerate(counts)
            if predicted != truth and count > 0
        ]
    return sorted(wrong, key=lambda mistake: (-mistake.count, -mistake.share))[:most]


def _with_most_mistakes(counts: Sequence[Sequence[float]]) -> Sequence[int]:
    classes = range(len(counts))
    if len(classes) <= MAX_CLASSES:
        return classes
    columns = list(zip(*counts, strict=True))
    wrong = [sum(counts[n]) + sum(columns[n]) - 2 * counts[n][n] for n in classes]
    return sorted(classes, key=lambda place: -wrong[place])[:MAX_CLASSES]


def _counts(matrix: Matrix) -> list[list[float]]:
    """The counts of the matrix, 0 for what is no finite number or below 0."""
    return [[max(0.0, finite(count) or 0.0) for count in row] for row in matrix.counts]
