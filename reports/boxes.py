"""Draws boxes with their classes and scores over a picture, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from reports.formatting import plural, shorten
from reports.markup import esc
from reports.record import Box
from reports.thumbnails import Picture

# Okabe and Ito's colours, the bright ones first. Each box also shows its class: colour alone is not accessible.
PALETTE = ("#e69f00", "#56b4e9", "#f0e442", "#cc79a7", "#009e73", "#d55e00", "#0072b2")
MAX_BOXES = 25
MAX_LABEL = 24
TEXT_SHARE = 1 / 20  # text height as a share of the panel width; panels are about 240 px wide and 4 : 3
LETTER_SHARE = 0.6  # width of a letter as a share of its height


def colours_of(boxes: Sequence[Box]) -> dict[str, str]:
    """One colour per class, the same in every picture."""
    labels = sorted({box.label for box in boxes})
    return {label: PALETTE[index % len(PALETTE)] for index, label in enumerate(labels)}


def drawable(boxes: Sequence[Box]) -> list[Box]:
    """The boxes with valid coordinates, those with the highest scores first, at most `MAX_BOXES`."""
    valid = [
        box
        for box in boxes
        if len(box.place) == 4 and all(isinstance(side, int | float) and math.isfinite(side) for side in box.place)
    ]
    return sorted(valid, key=lambda box: -(box.score or 0.0))[:MAX_BOXES]


def boxes_text(boxes: Sequence[Box]) -> str:
    """`2 boxes: circle 0.93, star 0.71` as plain text."""
    shown = drawable(boxes)
    if not shown:
        return "no box"
    left_out = len(boxes) - len(shown)
    more = f", and {left_out:,} more" if left_out else ""
    return f"{plural(len(boxes), 'box', 'boxes')}: {', '.join(label_text(box) for box in shown)}{more}"


def label_text(box: Box) -> str:
    """The class, and the score if there is one."""
    label = shorten(box.label, MAX_LABEL)
    return label if box.score is None else f"{label} {box.score:.2f}"


def boxed_picture(
    picture: Picture, boxes: Sequence[Box], colours: Mapping[str, str], alt: str, name: str, first: bool
) -> str:
    """The picture with boxes on it. `first` embeds the picture under the id `name`; later calls refer to it."""
    width, height = picture.width_px, picture.height_px
    image = (
        f'<image id="{esc(name)}" href="{picture.uri}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
        if first
        else f'<use href="#{esc(name)}"/>'
    )
    # The boxes with the highest scores come last and lie on top.
    drawn = "".join(_box(box, colours[box.label], width, height) for box in reversed(drawable(boxes)))
    return (
        f'<svg class="boxes" viewBox="0 0 {width} {height}" role="img" aria-label="{esc(alt)}">'
        f'{image}<g aria-hidden="true">{drawn}</g></svg>'
    )


def _box(box: Box, colour: str, width_px: int, height_px: int) -> str:
    """The box as two outlines, a dark one below, to be visible on any picture, and its label inside the top edge."""
    left, top, wide, high = box.place
    left, right = sorted((_within(left, width_px), _within(left + wide, width_px)))
    top, bottom = sorted((_within(top, height_px), _within(top + high, height_px)))
    place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
    text = label_text(box)
    size = max(width_px, height_px * 4 / 3) * TEXT_SHARE
    # A label too long for the picture ends at its right edge.
    x = max(0.0, min(left, width_px - LETTER_SHARE * size * len(text)))
    y = top - 0.25 * size if top > 1.2 * size else min(top + size, height_px)
    return (
        f'<rect class="edge" {place}/><rect {place} stroke="{colour}"/>'
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}">{esc(text)}</text>'
    )


def _within(value: float, largest: int) -> float:
    return min(max(value, 0.0), float(largest))
