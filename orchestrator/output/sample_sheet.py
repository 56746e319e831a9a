"""The samples of a trial in one picture, for the Optuna dashboard."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from reports.record import Sample
from reports.thumbnails import shown

_WIDTH_PX, _COLUMNS = 240, 4
_LETTERS, _LINES = 38, 6


def sample_sheet(samples: Sequence[Sample]) -> bytes | None:
    """A PNG of the samples, each with its boxes and, below it, its prediction; None where no image can be read."""
    cards = [card for sample in samples if (card := _card(sample)) is not None]
    if not cards:
        return None
    width, height = max(card.width for card in cards), max(card.height for card in cards)
    columns = max(1, min(len(cards), _COLUMNS * _WIDTH_PX // width))
    sheet = Image.new("RGB", (columns * width, -(-len(cards) // columns) * height), "white")
    for place, card in enumerate(cards):
        sheet.paste(card, (place % columns * width, place // columns * height))
    data = io.BytesIO()
    sheet.save(data, "PNG")
    return data.getvalue()


def _card(sample: Sample) -> Image.Image | None:
    """One image, a generated one beside it, its prediction and its first reference; None where none can be read."""
    pictures = []
    if sample.image and (thumbnail := _thumbnail(sample.image)):
        pictures.append(_boxed(*thumbnail, sample))
    if sample.generated and (thumbnail := _thumbnail(sample.generated)):
        pictures.append(thumbnail[0])
    if not pictures:
        return None
    font = ImageFont.load_default(11)
    texts = [*sample.predictions[:1], *(f"reference: {text}" for text in sample.references[:1])]
    lines = [line for text in texts for line in textwrap.wrap(text, _LETTERS)[: _LINES // 2]]
    height = max(picture.height for picture in pictures)
    card = Image.new("RGB", (_WIDTH_PX * len(pictures), height + 14 * _LINES + 12), "white")
    for place, picture in enumerate(pictures):
        card.paste(picture, (4 + place * _WIDTH_PX, 4))
    ImageDraw.Draw(card).text((6, height + 8), "\n".join(lines), fill="#1c2530", font=font)
    return card


def _boxed(image: Image.Image, scale: float, sample: Sample) -> Image.Image:
    """A copy of a thumbnail with its boxes, those of the reference in green."""
    copy = image.copy()
    pen = ImageDraw.Draw(copy)
    for colour, boxes in (("#009e73", sample.reference_boxes), ("#d55e00", sample.predicted_boxes)):
        for left, top, width, height in (box.place for box in boxes if len(box.place) == 4):
            if width > 0 and height > 0:
                corners = (left, top, left + width, top + height)
                pen.rectangle([end * scale for end in corners], outline=colour, width=2)
    return copy


@functools.lru_cache(maxsize=64)  # every trial shows the same images
def _thumbnail(path: Path) -> tuple[Image.Image, float] | None:
    """An image reduced to the width of a card, and the scale of the reduction; None where it cannot be read."""
    try:
        with Image.open(path) as file:
            image = shown(file)
    except Exception:  # noqa: BLE001 - on a damaged file Pillow may raise any exception
        return None
    width = image.width
    image = ImageOps.contain(image, (_WIDTH_PX - 8, _WIDTH_PX - 8))
    return image, image.width / width
