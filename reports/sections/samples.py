"""What the best, the median and the worst trial and the promoted runs made of validation samples."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from reports.boxes import boxed_picture, boxes_words, colours_of
from reports.images import picture_of, thumbnail_uri
from reports.markup import Section, esc, paragraph
from reports.ranking import ranked
from reports.record import Box, Sample, StudyRecord
from reports.words import metric_text, plural, shorten

MAX_CARDS = 60  # of about 20 kB each
MAX_CARDS_EACH = 12
MAX_TEXTS = 6
MAX_TEXT = 400

Source = tuple[int, str]  # trial and folder of the promoted run, as in the record
Take = tuple[str, Sample]  # whose it is, in words


def section(record: StudyRecord) -> Section | None:
    """Cards of image, references and predictions under their titles; None where no sample was kept."""
    roles = _roles(record)
    if not roles:
        return None
    each = max(1, min(MAX_CARDS_EACH, MAX_CARDS // len(roles)))
    shown: dict[str, dict[Path, list[Take]]] = {}
    count = 0
    for source, role in roles.items():
        for sample in [sample for sample in record.samples if (sample.trial_id, sample.run) == source][:each]:
            shown.setdefault(sample.title, {}).setdefault(sample.image, []).append((role, sample))
            count += 1
    left = len(record.samples) - count
    note = f"{plural(left, 'further sample')} not shown." if left else ""
    return Section("Samples", _groups(shown) + paragraph(note, kind="quiet"))


def _groups(shown: Mapping[str, Mapping[Path, Sequence[Take]]]) -> str:
    """A heading over each group; where each group is one card, a single grid with headings in the cards."""
    numbers = itertools.count(1)
    takes_of = [take for images in shown.values() for takes in images.values() for take in takes]
    colours = colours_of([box for _, sample in takes_of for box in (*sample.reference_boxes, *sample.predicted_boxes)])
    if all(len(images) == 1 for images in shown.values()):
        only = [(title, takes) for title, images in shown.items() for takes in images.values()]
        cards = [_card(takes, next(numbers), colours, title) for title, takes in only]
        return f'<div class="cards">{"".join(cards)}</div>'
    groups = ""
    for title, images in shown.items():
        cards = [_card(takes, next(numbers), colours) for takes in images.values()]
        groups += f'{_heading(title)}<div class="cards">{"".join(cards)}</div>'
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


def _heading(title: str) -> str:
    return f"<h3>{esc(shorten(title, 160))}</h3>" if title else ""


def _card(takes: Sequence[Take], number: int, colours: Mapping[str, str], title: str = "") -> str:
    """One image with what each trial made of it; references that all share stand once."""
    if any(sample.reference_boxes or sample.predicted_boxes for _, sample in takes):
        return _boxed_card(takes, number, colours, title)
    image = takes[0][1].image
    uri, name = thumbnail_uri(image), shorten(image.name, 80)
    picture = f'<img src="{uri}" alt="Validation image {esc(name)}">' if uri else _absent(name)
    words = _words(takes)
    return f'<figure class="sample">{picture}<figcaption>{_heading(title)}<dl>{words}</dl></figcaption></figure>'


def _boxed_card(takes: Sequence[Take], number: int, colours: Mapping[str, str], title: str) -> str:
    """The reference and beside it what each trial found, each on a picture of its own; in words without an image."""
    image = takes[0][1].image
    picture, name = picture_of(image, upright=False), shorten(image.name, 80)
    if picture is None:
        caption = f"{_heading(title)}<dl>{_words(takes)}</dl>"
        return f'<figure class="sample">{_absent(name)}<figcaption>{caption}</figcaption></figure>'
    panels: list[tuple[str, Sequence[Box]]] = [("reference", takes[0][1].reference_boxes)]
    for role, sample in takes:
        if sample.reference_boxes != takes[0][1].reference_boxes:
            panels.append((f"reference of {role}", sample.reference_boxes))
        panels.append((role, sample.predicted_boxes))
    drawn = ""
    for place, (label, boxes) in enumerate(panels):
        words = boxes_words(boxes)
        svg = boxed_picture(picture, boxes, colours, f"{label}, {name}: {words}", f"sample-{number}", place == 0)
        drawn += f"<figure>{svg}<figcaption><strong>{esc(label)}</strong> {esc(words)}</figcaption></figure>"
    return f'<div class="sample boxed">{_heading(title)}<div class="panels">{drawn}</div></div>'


def _absent(name: str) -> str:
    return f'<p class="absent">No image: {esc(name)} is missing or cannot be read</p>'


def _words(takes: Sequence[Take]) -> str:
    shared = len({tuple(sample.references) for _, sample in takes}) == 1
    words = _texts("reference", takes[0][1].references) if shared else ""
    for role, sample in takes:
        words += "" if shared else _texts(f"reference of {role}", sample.references)
        words += _texts(role, sample.predictions or ["(no prediction)"])
    return words


def _texts(label: str, texts: Sequence[str]) -> str:
    if not texts:
        return ""
    items = "".join(f"<dd>{esc(shorten(text, MAX_TEXT))}</dd>" for text in texts[:MAX_TEXTS])
    more = f"<dd>and {len(texts) - MAX_TEXTS:,} more</dd>" if len(texts) > MAX_TEXTS else ""
    return f"<dt>{esc(label)}</dt>{items}{more}"
