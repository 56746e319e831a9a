"""Boxes drawn over a picture, with their classes and scores, as SVG inside the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from reports.images import Picture
from reports.markup import esc
from reports.record import Box
from reports.words import plural, shorten

# Okabe and Ito's colours, the bright ones first; the class stands beside each box, so that colour never speaks alone.
PALETTE = ("#e69f00", "#56b4e9", "#f0e442", "#cc79a7", "#009e73", "#d55e00", "#0072b2")
MAX_BOXES = 25
MAX_LABEL = 24
TEXT_SHARE = 1 / 20  # of a panel's width: panels are some 240 px wide and stand 4 : 3
LETTER_SHARE = 0.6  # width of a letter, of its height


def colours_of(boxes: Sequence[Box]) -> dict[str, str]:
    """A colour for each class, the same wherever the class is drawn."""
    labels = sorted({box.label for box in boxes})
    return {label: PALETTE[place % len(PALETTE)] for place, label in enumerate(labels)}


def drawable(boxes: Sequence[Box]) -> list[Box]:
    """The boxes that have a place, the likeliest first, and no more than a reader can tell apart."""
    sound = [
        box
        for box in boxes
        if len(box.place) == 4 and all(isinstance(side, int | float) and math.isfinite(side) for side in box.place)
    ]
    return sorted(sound, key=lambda box: -(box.score or 0.0))[:MAX_BOXES]


def boxes_words(boxes: Sequence[Box]) -> str:
    """`2 boxes: circle 0.93, star 0.71` as plain text."""
    shown = drawable(boxes)
    if not shown:
        return "no box"
    left = len(boxes) - len(shown)
    more = f", and {left:,} more" if left else ""
    return f"{plural(len(boxes), 'box', 'boxes')}: {', '.join(label_words(box) for box in shown)}{more}"


def label_words(box: Box) -> str:
    """The class, and the score where there is one."""
    label = shorten(box.label, MAX_LABEL)
    return label if box.score is None else f"{label} {box.score:.2f}"


def boxed_picture(
    picture: Picture, boxes: Sequence[Box], colours: Mapping[str, str], alt: str, name: str, first: bool
) -> str:
    """The picture with the boxes on it. `first` embeds it under `name`; later ones show the embedded one again."""
    width, height = picture.width_px, picture.height_px
    shown = (
        f'<image id="{esc(name)}" href="{picture.uri}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
        if first
        else f'<use href="#{esc(name)}"/>'
    )
    # The likeliest come last and lie on top.
    drawn = "".join(_box(box, colours[box.label], width, height) for box in reversed(drawable(boxes)))
    return (
        f'<svg class="boxes" viewBox="0 0 {width} {height}" role="img" aria-label="{esc(alt)}">'
        f'{shown}<g aria-hidden="true">{drawn}</g></svg>'
    )


def _box(box: Box, colour: str, width_px: int, height_px: int) -> str:
    """Two outlines, a dark one below, so that the box shows on any picture; the words stand inside its top edge."""
    left, top, wide, high = box.place
    left, right = sorted((_within(left, width_px), _within(left + wide, width_px)))
    top, bottom = sorted((_within(top, height_px), _within(top + high, height_px)))
    place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
    words = label_words(box)
    size = max(width_px, height_px * 4 / 3) * TEXT_SHARE
    # Words that would run out of the picture end at its edge.
    x = max(0.0, min(left, width_px - LETTER_SHARE * size * len(words)))
    y = top - 0.25 * size if top > 1.2 * size else min(top + size, height_px)
    return (
        f'<rect class="edge" {place}/><rect {place} stroke="{colour}"/>'
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}">{esc(words)}</text>'
    )


def _within(value: float, most: int) -> float:
    return min(max(value, 0.0), float(most))
