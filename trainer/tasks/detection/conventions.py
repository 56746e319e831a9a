"""How the four numbers of a box are written, and what the numbers of a whole file say of that. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from trainer.errors import counted
from trainer.tasks.detection.config import BoxFormat, BoxUnits

Floats = NDArray[np.float64]
_ROUNDING_PX, _ROUNDING_SHARE = 1.0, 0.01  # so far a box may stick out of its image; it is clipped
_MANY, _FEW = 0.05, 3  # this share of the boxes, and so many, tell a convention from single mistakes
_SMALL_FILE = 10  # with fewer boxes half of them must be wrong
_RESIDUE = 0.1  # the right convention has at most this part of the misfits of a wrong one
# Chances that boxes in pixels are taken for fractions: where some number is no whole one, and where all are.
_CHANCE, _CHANCE_OF_WHOLE = 1e-3, 1e-6
_WORDS = {
    "xywh": "left, top, width, height",
    "xyxy": "left, top, right, bottom",
    "cxcywh": "centre, width, height",
}


class Convention(NamedTuple):
    """What the numbers of a box are, and whether they are pixels or parts of the image."""

    format: BoxFormat = "xywh"
    units: BoxUnits = "pixels"

    @property
    def words(self) -> str:
        return f"{_WORDS[self.format]} in {'pixels' if self.units == 'pixels' else 'parts of the image'}"

    def options(self, other: Convention) -> str:
        """The keys that ask for this convention where the configuration asks for the other one."""
        keys = [("data.box_format", self.format, other.format), ("data.box_units", self.units, other.units)]
        return " ".join(f"{key}={mine}" for key, mine, theirs in keys if mine != theirs)


def corners(boxes: Floats, sizes: Floats, convention: Convention) -> Floats:
    """Boxes [n, 4] in images of (width, height) [n, 2] as xyxy in pixels, not clipped."""
    if convention.units == "fraction":
        boxes = boxes * np.tile(sizes, 2)
    first, second = boxes[:, :2], boxes[:, 2:]
    if convention.format == "xyxy":
        return boxes
    start = first - second / 2 if convention.format == "cxcywh" else first
    return np.concatenate([start, start + second], axis=1)


def misplaced(places: Floats, sizes: Floats) -> NDArray[np.bool_]:
    """Which xyxy boxes [n, 4] stick out of their images by more than rounding explains [n]."""
    room = np.maximum(_ROUNDING_PX, _ROUNDING_SHARE * sizes) + 1e-6
    outside: NDArray[np.bool_] = np.any((places[:, :2] < -room) | (places[:, 2:] > sizes + room), axis=1)
    return outside


def contradiction(boxes: Floats, sizes: Floats, said: Convention, fixed: bool) -> str:
    """What speaks against the convention that a file is said to have; empty where nothing does.

    Correct boxes stay in their images. So a convention is wrong where many boxes do not, and hardly any in another
    convention; and so are pixels where all boxes lie in the first one. `fixed`: no option changes the convention.
    """
    filled = boxes.any(axis=1)
    boxes, sizes = boxes[filled], sizes[filled]
    if not len(boxes):
        return ""
    misfits = {other: _misfits(boxes, sizes, other) for other in _conventions(said)}
    wrong = misfits.pop(said)
    if _in_the_first_pixel(boxes, sizes):
        misfits = {other: count for other, count in misfits.items() if other.units == "fraction"}
        if said.units == "pixels":
            what = f"all {len(boxes)} boxes" if len(boxes) > 1 else "its only box"
            what += " would lie in the first pixel: the numbers are parts of the image"
            return f"{what}; {_advice(misfits, said, fixed)}"
    least = max(_FEW, _MANY * len(boxes)) if len(boxes) >= _SMALL_FILE else len(boxes) / 2
    fewest = min(misfits.values())
    if wrong < max(least, 1) or fewest > _RESIDUE * wrong:
        return ""
    what = f"{wrong} of {counted(len(boxes), 'box')} do not fit into their images as {said.words}"
    return f"{what}; {_advice(misfits, said, fixed)}"


def disagreement(boxes: Floats, sizes: Floats, outlines: Floats, areas: Floats, said: Convention) -> str:
    """What polygons and areas beside the boxes say against a convention; empty where another explains them no better.

    A box is the one around its polygons, and no smaller than their area. `outlines` are xyxy in pixels [n, 4], `areas`
    are in pixels² [n]; both are nan where there is none.
    """
    told = ~np.isnan(outlines[:, 0]) | ~np.isnan(areas)
    if told.sum() < _FEW:
        return ""
    boxes, sizes, outlines, areas = boxes[told], sizes[told], outlines[told], areas[told]
    explained = {other: _explained(boxes, sizes, outlines, areas, other) for other in _conventions(said)}
    best = max(explained, key=lambda other: explained[other])
    if explained[said] >= 0.5 or explained[best] < 1.0 - _RESIDUE:
        return ""
    wrong = round((1.0 - explained[said]) * len(boxes))
    what = f"{wrong} of {counted(len(boxes), 'box')} do not fit their polygons or areas as {said.words}"
    return f"{what}, but as {best.words}: set {best.options(said)}"


def _explained(boxes: Floats, sizes: Floats, outlines: Floats, areas: Floats, convention: Convention) -> float:
    """The share of the boxes that fit their outlines and areas."""
    places = corners(boxes, sizes, convention)
    sides = np.maximum(places[:, 2:] - places[:, :2], 0.0)
    room = np.maximum(2.0 * _ROUNDING_PX, 2.0 * _ROUNDING_SHARE * np.tile(sizes, 2))
    around = np.isnan(outlines[:, 0]) | (np.abs(places - outlines) <= room).all(axis=1)
    large = np.isnan(areas) | (areas <= (sides + 2.0 * _ROUNDING_PX).prod(axis=1) * 1.05)
    return float((around & large & (sides > 0).all(axis=1)).mean())


def _conventions(said: Convention) -> Iterator[Convention]:
    """All conventions, those in the same units first."""
    for units in (said.units, *(other for other in get_args(BoxUnits) if other != said.units)):
        yield from (Convention(form, units) for form in get_args(BoxFormat))


def _misfits(boxes: Floats, sizes: Floats, convention: Convention) -> int:
    places = corners(boxes, sizes, convention)
    flat = (places[:, 2:] <= places[:, :2]).any(axis=1)
    return int((flat | misplaced(places, sizes)).sum())


def _in_the_first_pixel(boxes: Floats, sizes: Floats) -> bool:
    """Whether the boxes lie there as no boxes in pixels would by chance: that is one in an image's number of pixels."""
    inside = (np.abs(boxes) <= 1.0 + _ROUNDING_SHARE).all(axis=1)
    if inside.mean() < 1.0 - _MANY:
        return False
    whole = bool((boxes[inside] == np.round(boxes[inside])).all())
    chance = -float(np.log(sizes[inside].prod(axis=1)).sum())
    return chance < math.log(_CHANCE_OF_WHOLE if whole else _CHANCE)


def _advice(misfits: dict[Convention, int], said: Convention, fixed: bool) -> str:
    """The conventions with the fewest misfits, in the best format where several are as good, with their options."""
    fewest = min(misfits.values())
    best = [convention for convention in misfits if misfits[convention] == fewest]
    best = [other for other in best if other.format == said.format] or [o for o in best if o.units == best[0].units]
    words = " or ".join(convention.words for convention in best)
    fit = f"{'all' if not fewest else 'all but ' + str(fewest)} fit as {words}"
    return fit if fixed else f"{fit}: set {' or '.join(convention.options(said) for convention in best)}"
