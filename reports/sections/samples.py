"""What the best, the median and the worst trial and the promoted runs made of validation samples.

Captions and classes stand below their images, boxes on them, generated images beside them; a confusion matrix follows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from reports.boxes import colours_of
from reports.cards import Take, card, heading
from reports.figures_classes import confusion_of, mistakes, shown_matrix
from reports.markup import Section, esc, paragraph, table
from reports.ranking import ranked
from reports.record import Matrix, StudyRecord
from reports.render import figure_html
from reports.words import metric_text, plural, shorten

MAX_CARDS = 60  # of about 20 kB each
MAX_CARDS_EACH = 12
MAX_MISTAKES = 8

Source = tuple[int, str]  # trial and folder of the promoted run, as in the record


def section(record: StudyRecord) -> Section | None:
    """Cards of image, references and predictions under their titles; None where no sample was kept."""
    roles, matrix = _roles(record), shown_matrix(record)
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
    return Section("Samples", _groups(shown) + paragraph(note, kind="quiet") + _confusion(matrix))


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


def _roles(record: StudyRecord) -> dict[Source, str]:
    """Whose samples are shown, in order, and as what."""
    sources = dict.fromkeys((sample.trial_id, sample.run) for sample in record.samples)
    competitors = ranked(record)
    trials = [trial for trial in competitors if (trial.trial_id, "") in sources]
    roles: dict[Source, str] = {}
    runs = {run.folder: run for run in record.full_runs}
    for trial_id, folder in sources:
        if folder:
            run = runs.get(folder)
            words = f" · {record.metric.label} {metric_text(record.metric, run.value)}" if run else ""
            roles[trial_id, folder] = f"promoted · trial {trial_id}{words}"
    places = {0, len(trials) // 2, len(trials) - 1} if trials else set()
    for place in sorted(places):
        trial = trials[place]
        words = f"{record.metric.label} {metric_text(record.metric, trial.value)}"
        rank = _rank([other.trial_id for other in competitors], trial.trial_id)
        roles[trial.trial_id, ""] = f"{rank} · trial {trial.trial_id} · {words}"
    return roles


def _rank(order: Sequence[int], trial_id: int) -> str:
    """The place among all trials that compete, whether or not the others kept samples."""
    place = order.index(trial_id)
    names = {len(order) // 2: "median", len(order) - 1: "worst", 0: "best"}
    return names.get(place, f"rank {place + 1:,} of {len(order):,}")
