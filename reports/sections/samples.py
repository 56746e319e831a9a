"""What the best, the median and the worst trial and the promoted runs made of validation samples.

Captions and classes stand below their images, boxes on them, generated images beside them; a confusion matrix follows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from reports.boxes import colours_of
from reports.cards import Source, Take, anchor, card, heading, roles_of
from reports.figures_classes import confusion_of, mistakes, shown_matrix
from reports.markup import Section, esc, paragraph, table
from reports.record import Matrix, StudyRecord
from reports.render import figure_html
from reports.words import plural, shorten

MAX_CARDS = 60  # of about 20 kB each
MAX_CARDS_EACH = 12
MAX_MISTAKES = 8


def section(record: StudyRecord) -> Section | None:
    """Cards of image, references and predictions under their titles; None where no sample was kept."""
    roles, matrix = roles_of(record), shown_matrix(record)
    if not roles and matrix is None:
        return None
    each = max(1, min(MAX_CARDS_EACH, MAX_CARDS // max(1, len(roles))))
    shown: dict[str, dict[Path | None, list[Take]]] = {}
    count = 0
    for source, role in roles.items():
        for sample in [sample for sample in record.samples if (sample.trial_id, sample.run) == source][:each]:
            shown.setdefault(sample.title, {}).setdefault(sample.image, []).append((role, sample))
            count += 1
    left = len(record.samples) - count
    note = f"{plural(left, 'further sample')} not shown." if left else ""
    parts = (_whose(record, roles), _groups(shown), paragraph(note, kind="quiet"), _confusion(matrix))
    return Section("Samples", "".join(parts))


def _whose(record: StudyRecord, roles: Mapping[Source, str]) -> str:
    """Whose samples are shown, each a place to link to, with the folder where it still lies beside the report."""
    folders = {trial.trial_id: trial.folder for trial in record.trials}
    items = ""
    for (trial_id, run), role in roles.items():
        folder = run or folders.get(trial_id, "")
        link = f' <a href="{esc(quote(folder))}/samples/">files</a>' if folder else ""
        items += f'<li id="{anchor(trial_id, run)}">{esc(role)}{link}</li>'
    return f'<ul class="whose quiet">{items}</ul>' if items else ""


def _confusion(matrix: Matrix | None) -> str:
    """The matrix and its commonest mistakes in a table."""
    if matrix is None:
        return ""
    whose = f"trial {matrix.trial_id}" + (f", promoted ({shorten(matrix.run, 60)})" if matrix.run else "")
    right = sum(matrix.counts[place][place] for place in range(len(matrix.labels)))
    total = sum(sum(row) for row in matrix.counts)
    share = f"{right / total:.1%} of {total:,.0f} samples" if total > 0 else "none of the samples"
    alt = f"Confusion matrix of {whose}: {plural(len(matrix.labels), 'class', 'classes')}, {share} on the diagonal."
    caption = f"The last evaluation of {esc(whose)}; on the diagonal lie the {esc(share)} that it got right."
    found = mistakes(matrix, MAX_MISTAKES)
    rows = [
        (esc(shorten(one.truth, 60)), esc(shorten(one.predicted, 60)), f"{one.count:,g}", f"{one.share:.1%}")
        for one in found
    ]
    heads = ("True class", "Taken for", "Samples", "Of the class")
    commonest = table("The commonest mistakes", heads, rows, numeric=(2, 3)) if rows else ""
    plot = figure_html("confusion", confusion_of(matrix), alt, caption)
    return f"<h3>Which class was taken for which</h3>{plot}{commonest}"


def _groups(shown: Mapping[str, Mapping[Path | None, Sequence[Take]]]) -> str:
    """A heading over each group; where each group is one card, a single grid with headings in the cards."""
    numbers = itertools.count(1)
    takes_of = [take for images in shown.values() for takes in images.values() for take in takes]
    colours = colours_of([box for _, sample in takes_of for box in (*sample.reference_boxes, *sample.predicted_boxes)])
    if not shown:
        return ""
    if all(len(images) == 1 for images in shown.values()):
        only = [(title, takes) for title, images in shown.items() for takes in images.values()]
        cards = [card(takes, next(numbers), colours, title) for title, takes in only]
        return f'<div class="cards">{"".join(cards)}</div>'
    groups = ""
    for title, images in shown.items():
        cards = [card(takes, next(numbers), colours) for takes in images.values()]
        groups += f'{heading(title)}<div class="cards">{"".join(cards)}</div>'
    return groups
