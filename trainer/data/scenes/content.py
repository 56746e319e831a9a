"""The content of a scene: shapes, their places, and the ground behind them. Plain data, no pixels.

A scene is a function of (seed, index) alone. Lengths are fractions of the picture's side, y points down.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from trainer.data.scenes.spec import KINDS

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (216, 38, 44),
    "orange": (246, 138, 30),
    "yellow": (250, 218, 54),
    "green": (44, 158, 72),
    "blue": (36, 92, 214),
    "purple": (140, 62, 178),
}
TEXTURES = ("plain", "striped", "dotted", "checkered")
SHADES = ("light", "dark")

RADII = {"small": (0.12, 0.135), "large": (0.2, 0.22)}
MARGIN = 0.05
GRAIN = 0.05  # amplitude of the camera's noise
SHAPE_COUNTS = (1, 1, 1, 1, 2, 2, 2, 2, 2, 3)  # drawn from uniformly: the weights of one, two and three shapes

# Simple scenes' shapes: their centres are the places that captions name.
SIMPLE_PLACES = ((0.5, 0.5), (0.35, 0.5), (0.65, 0.5), (0.5, 0.35), (0.5, 0.65))
SIMPLE_RADII = (0.26, 0.28)

Layout = Literal["alone", "row", "column"]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Shape:
    """One object that captions name: its centre, the radius of the circle around it, its turn in degrees."""

    kind: str
    colour: str
    size: str
    x: float
    y: float
    radius: float
    turn: float


@dataclass(frozen=True)
class Backdrop:
    """The textured, nearly grey ground; `period` is the width of a stripe, dot or square with its gap."""

    texture: str
    shade: str
    tint: float
    turn: float
    period: float


@dataclass(frozen=True)
class Scratch:
    """A thin grey line or speck that no caption names and no box holds."""

    x: float
    y: float
    dx: float
    dy: float


@dataclass(frozen=True)
class Scene:
    """Shapes in the order in which captions name them: left to right in a row, top to bottom in a column.

    `placed`: every caption of a lone shape says where it is, and not only some.
    """

    shapes: tuple[Shape, ...]
    layout: Layout
    backdrop: Backdrop
    scratches: tuple[Scratch, ...]
    grain: float = GRAIN
    placed: bool = False


def stream(seed: int, *name: object) -> random.Random:
    """A random generator for one purpose, independent of all others and of earlier draws."""
    return random.Random(":".join(map(str, ("scenes", seed, *name))))


def pick(rng: random.Random, items: Sequence[Item]) -> Item:
    """One of `items`. Only `random()` keeps its sequence across Python versions; `choice()` does not."""
    return items[int(rng.random() * len(items))]


def scene_at(seed: int, index: int, simple: bool = False) -> Scene:
    """Scene number `index` of the endless sequence of `seed`."""
    rng = stream(seed, "scene", index)
    if simple:
        return _simple_scene(rng, pick(rng, KINDS))
    count = pick(rng, SHAPE_COUNTS)
    layout: Layout = "alone" if count == 1 else pick(rng, ("row", "column"))
    sizes = ["small"] * 3 if count == 3 else [pick(rng, tuple(RADII)) for _ in range(count)]
    colours = _different(rng, tuple(COLOURS), count)
    kinds = _different(rng, KINDS, count)
    radii = [rng.uniform(*RADII[size]) for size in sizes]
    places = _places(rng, layout, radii)
    shapes = tuple(
        Shape(kind, colour, size, x, y, radius, rng.uniform(-12.0, 12.0))
        for kind, colour, size, radius, (x, y) in zip(kinds, colours, sizes, radii, places, strict=True)
    )
    return Scene(shapes, layout, _backdrop(rng), _scratches(rng))


def class_scene_at(seed: int, kind: str, index: int, simple: bool = False) -> Scene:
    """Image number `index` of the class `kind`: one shape of that kind, everything else at random."""
    rng = stream(seed, "class", kind, index)
    if simple:
        return _simple_scene(rng, kind)
    size = pick(rng, tuple(RADII))
    radius = rng.uniform(*RADII[size])
    ((x, y),) = _places(rng, "alone", [radius])
    shape = Shape(kind, pick(rng, tuple(COLOURS)), size, x, y, radius, rng.uniform(-12.0, 12.0))
    return Scene((shape,), "alone", _backdrop(rng), _scratches(rng))


def _simple_scene(rng: random.Random, kind: str) -> Scene:
    """One large upright shape about a place that captions name, on plain ground: what a small model learns to draw."""
    x, y = (centre + rng.uniform(-0.02, 0.02) for centre in pick(rng, SIMPLE_PLACES))
    shape = Shape(kind, pick(rng, tuple(COLOURS)), "large", x, y, rng.uniform(*SIMPLE_RADII), 0.0)
    backdrop = Backdrop("plain", pick(rng, SHADES), rng.random(), turn=0.0, period=0.1)
    return Scene((shape,), "alone", backdrop, scratches=(), grain=0.0, placed=True)


def _different(rng: random.Random, items: Sequence[str], count: int) -> list[str]:
    """`count` items without repetition, so that a caption's words point at one shape only."""
    left = list(items)
    return [left.pop(int(rng.random() * len(left))) for _ in range(count)]


def _places(rng: random.Random, layout: Layout, radii: Sequence[float]) -> list[tuple[float, float]]:
    """Centres that keep the shapes inside the picture, apart from each other and clearly related."""
    if layout == "alone":
        low = radii[0] + MARGIN
        return [(rng.uniform(low, 1 - low), rng.uniform(low, 1 - low))]
    edge = max(radii) + MARGIN
    line = rng.uniform(edge, 1 - edge)
    centres = []
    for number, radius in enumerate(radii):
        # Each shape stays within its own share of the picture: none can touch the next.
        start, end = number / len(radii), (number + 1) / len(radii)
        first = max(start + 0.01, MARGIN) + radius
        last = min(end - 0.01, 1 - MARGIN) - radius
        along = rng.uniform(first, last)
        across = min(max(line + rng.uniform(-0.06, 0.06), radius + MARGIN), 1 - radius - MARGIN)
        centres.append((along, across) if layout == "row" else (across, along))
    return centres


def _backdrop(rng: random.Random) -> Backdrop:
    return Backdrop(
        texture=pick(rng, TEXTURES),
        shade=pick(rng, SHADES),
        tint=rng.random(),
        turn=rng.uniform(0.0, 180.0),
        period=rng.uniform(0.10, 0.15),
    )


def _scratches(rng: random.Random) -> tuple[Scratch, ...]:
    count = int(rng.random() * 6)
    return tuple(
        Scratch(rng.random(), rng.random(), rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12)) for _ in range(count)
    )
