"""Predictions of the best, the median and the worst trial and of the promoted runs for validation samples.

Captions and classes are shown below the image, boxes on it, generated images beside it. A confusion matrix follows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from reports.boxes import colours_of
from reports.figures_classes import confusion_of, mistakes, shown_matrix
from reports.formatting import plural, shorten
from reports.markup import Section, esc, paragraph, table
from reports.record import Matrix, StudyRecord
from reports.render import figure_html
from reports.sample_cards import Prediction, Source, anchor, card, heading, roles_of

MAX_CARDS = 60  # of about 20 kB each
MAX_CARDS_EACH = 12
MAX_MISTAKES = 8


def section(record: StudyRecord) -> Section | None:
    """Cards with image, references and predictions, grouped by title; None if there are no samples."""
    roles, matrix = roles_of(record), shown_matrix(record)
    if not roles and matrix is None:
        return None
    each = max(1, min(MAX_CARDS_EACH, MAX_CARDS // max(1, len(roles))))
    shown: dict[str, dict[Path | None, list[Prediction]]] = {}
    count = 0
    for source, role in roles.items():
        for sample in [sample for sample in record.samples if (sample.trial_id, sample.run) == source][:each]:
            shown.setdefault(sample.title, {}).setdefault(sample.image, []).append((role, sample))
            count += 1
    left_out = len(record.samples) - count
    note = f"{plural(left_out, 'further sample')} not shown." if left_out else ""
    parts = (_list_of_roles(record, roles), _groups(shown), paragraph(note, kind="quiet"), _confusion(matrix))
    return Section("Samples", "".join(parts))


def _list_of_roles(record: StudyRecord, roles: Mapping[Source, str]) -> str:
    """The trials and runs whose samples are shown: targets for links, with links to their folders."""
    folders = {trial.trial_id: trial.folder for trial in record.trials}
    items = ""
    for (trial_id, run), role in roles.items():
        folder = run or folders.get(trial_id, "")
        link = f' <a href="{esc(quote(folder))}/samples/">files</a>' if folder else ""
        items += f'<li id="{anchor(trial_id, run)}">{esc(role)}{link}</li>'
    return f'<ul class="whose quiet">{items}</ul>' if items else ""


def _confusion(matrix: Matrix | None) -> str:
    """The confusion matrix, and a table of the most frequent mistakes."""
    if matrix is None:
        return ""
    source = f"trial {matrix.trial_id}" + (f", promoted ({shorten(matrix.run, 60)})" if matrix.run else "")
    correct = sum(matrix.counts[index][index] for index in range(len(matrix.labels)))
    total = sum(sum(row) for row in matrix.counts)
    share = f"{correct / total:.1%} of {total:,.0f} samples" if total > 0 else "none of the samples"
    alt = f"Confusion matrix of {source}: {plural(len(matrix.labels), 'class', 'classes')}, {share} on the diagonal."
    caption = f"The last evaluation of {esc(source)}; the diagonal holds the {esc(share)} that it classified correctly."
    rows = [
        (esc(shorten(m.truth, 60)), esc(shorten(m.predicted, 60)), f"{m.count:,g}", f"{m.share:.1%}")
        for m in mistakes(matrix, MAX_MISTAKES)
    ]
    heads = ("True class", "Classified as", "Samples", "Share of the class")
    mistakes_table = table("The most frequent mistakes", heads, rows, numeric=(2, 3)) if rows else ""
    plot = figure_html("confusion", confusion_of(matrix), alt, caption)
    return f"<h3>Confusion matrix</h3>{plot}{mistakes_table}"


def _groups(shown: Mapping[str, Mapping[Path | None, Sequence[Prediction]]]) -> str:
    """A heading over each group of cards; if every group is a single card, one grid with headings in the cards."""
    numbers = itertools.count(1)
    samples = [sample for images in shown.values() for predictions in images.values() for _, sample in predictions]
    colours = colours_of([box for sample in samples for box in (*sample.reference_boxes, *sample.predicted_boxes)])
    if not shown:
        return ""
    if all(len(images) == 1 for images in shown.values()):
        cards = [
            card(predictions, next(numbers), colours, title)
            for title, images in shown.items()
            for predictions in images.values()
        ]
        return f'<div class="cards">{"".join(cards)}</div>'
    groups = ""
    for title, images in shown.items():
        cards = [card(predictions, next(numbers), colours) for predictions in images.values()]
        groups += f'{heading(title)}<div class="cards">{"".join(cards)}</div>'
    return groups
