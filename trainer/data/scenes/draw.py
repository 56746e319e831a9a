"""Draws a scene: ground, scratches, shapes, noise, and which pixels each shape covers."""

import math
import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from trainer.data.scenes.content import COLOURS, Backdrop, Scene, Scratch, Shape

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

OVERSAMPLING = 4  # shapes are drawn this much larger and averaged down, for smooth edges
RIM = 0.87  # the part of a shape's radius inside its darker or lighter rim


@dataclass(frozen=True)
class Picture:
    """The drawn scene, and for each shape the pixels of it that can be seen."""

    image: Image.Image
    masks: tuple[Mask, ...]


def draw(scene: Scene, size_px: int, noise: random.Random) -> Picture:
    """Draw `scene` as an RGB picture of `size_px` pixels a side."""
    canvas = _ground(scene.backdrop, size_px)
    for scratch in scene.scratches:
        _add_scratch(canvas, scratch, dark=scene.backdrop.shade == "light")
    masks = tuple(_add_shape(canvas, shape, scene.backdrop.shade) for shape in scene.shapes)
    # The sum of two uniform distributions is close enough to camera noise, and the same on every platform.
    grain = np.frombuffer(noise.randbytes(2 * canvas.size), dtype=np.uint8).reshape(2, *canvas.shape)
    canvas += (grain.astype(np.float32).sum(axis=0) - 255.0) * np.float32(scene.grain)
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return Picture(Image.fromarray(pixels), masks)


def outline(kind: str) -> list[tuple[float, float]]:
    """Corners of `kind` within a circle of radius 1, y pointing down."""
    if kind == "circle":
        return [_polar(0.92, 360 * step / 60) for step in range(60)]
    if kind == "square":
        return [_polar(1.0, 45 + 90 * step) for step in range(4)]
    if kind == "triangle":
        return [_polar(1.0, -90 + 120 * step) for step in range(3)]
    if kind == "star":
        return [_polar(1.0 if step % 2 == 0 else 0.42, -90 + 36 * step) for step in range(10)]
    assert kind == "cross", kind
    arm, reach = 0.3, 0.95
    quarter = [(arm, -reach), (arm, -arm), (reach, -arm)]
    corners = []
    for _ in range(4):
        corners += quarter
        quarter = [(-y, x) for x, y in quarter]
    return corners


def _polar(radius: float, degrees: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    return radius * math.cos(angle), radius * math.sin(angle)


@lru_cache(maxsize=4)
def _grid(size_px: int) -> tuple[Floats, Floats]:
    """Pixel centres as fractions of the side: x of every pixel, y of every pixel."""
    centres = (np.arange(size_px, dtype=np.float32) + 0.5) / size_px
    shape = (size_px, size_px)
    return np.broadcast_to(centres, shape), np.broadcast_to(centres[:, None], shape)


def _ground(backdrop: Backdrop, size_px: int) -> Floats:
    """The ground as floats  # [height, width, 3]."""
    x, y = _grid(size_px)
    angle = math.radians(backdrop.turn)
    along = (x * math.cos(angle) + y * math.sin(angle)) * (2 * math.pi / backdrop.period)
    across = (y * math.cos(angle) - x * math.sin(angle)) * (2 * math.pi / backdrop.period)
    if backdrop.texture == "striped":
        wave = np.sin(along)
    elif backdrop.texture == "checkered":
        wave = np.sin(along / 2) * np.sin(across / 2) * 2.0
    elif backdrop.texture == "dotted":
        wave = np.cos(along) + np.cos(across) - 0.9
    else:
        wave = np.zeros_like(x)
    level, step = (198.0, 22.0) if backdrop.shade == "light" else (62.0, 18.0)
    light = level + step * np.clip(wave * 1.6, -1.0, 1.0) + (0.5 - y) * 16.0
    hue = 2 * math.pi * backdrop.tint
    tint = np.array([1 + 0.07 * math.cos(hue + turn) for turn in (0.0, 2.1, 4.2)], dtype=np.float32)
    return np.asarray(light[..., None] * tint, dtype=np.float32)


def _add_scratch(canvas: Floats, scratch: Scratch, *, dark: bool) -> None:
    size_px = canvas.shape[0]
    layer = Image.new("L", (size_px, size_px))
    start = (scratch.x * size_px, scratch.y * size_px)
    end = ((scratch.x + scratch.dx) * size_px, (scratch.y + scratch.dy) * size_px)
    ImageDraw.Draw(layer).line([start, end], fill=110, width=max(1, size_px // 96))
    alpha = np.asarray(layer, dtype=np.float32)[..., None] / 255.0
    canvas += alpha * ((105.0 if dark else 150.0) - canvas)


def _add_shape(canvas: Floats, shape: Shape, shade: str) -> Mask:
    """Paint `shape` onto `canvas` in place; returns the pixels that it covers."""
    size_px = canvas.shape[0]
    left, right = _span(shape.x, shape.radius, size_px)
    top, bottom = _span(shape.y, shape.radius, size_px)
    whole = _coverage(shape, 1.0, (left, top, right, bottom), size_px)
    inner = _coverage(shape, RIM, (left, top, right, bottom), size_px)
    colour = np.array(COLOURS[shape.colour], dtype=np.float32)
    rim = colour * 0.62 if shade == "light" else colour * 0.62 + 255 * 0.38
    height = np.linspace(1.08, 0.92, bottom - top, dtype=np.float32)[:, None, None]  # lit from above
    paint = inner[..., None] * colour * height + (1 - inner[..., None]) * rim
    patch = canvas[top:bottom, left:right]
    patch += whole[..., None] * (paint - patch)
    mask = np.zeros((size_px, size_px), dtype=np.bool_)
    mask[top:bottom, left:right] = whole > 0.5
    return mask


def _span(centre: float, radius: float, size_px: int) -> tuple[int, int]:
    """First pixel and the one after the last that a shape can touch along one axis."""
    first = math.floor((centre - radius) * size_px)
    last = math.ceil((centre + radius) * size_px)
    return max(0, first), min(size_px, last)


def _coverage(shape: Shape, scale: float, patch: tuple[int, int, int, int], size_px: int) -> Floats:
    """How much of each pixel of `patch` the shape, drawn at `scale`, covers: 0 to 1."""
    left, top, right, bottom = patch
    cos, sin = _polar(shape.radius * scale * size_px, shape.turn)
    corners = [
        (
            (shape.x * size_px + x * cos - y * sin - left) * OVERSAMPLING,
            (shape.y * size_px + x * sin + y * cos - top) * OVERSAMPLING,
        )
        for x, y in outline(shape.kind)
    ]
    layer = Image.new("L", ((right - left) * OVERSAMPLING, (bottom - top) * OVERSAMPLING))
    ImageDraw.Draw(layer).polygon(corners, fill=255)
    return np.asarray(layer.reduce(OVERSAMPLING), dtype=np.float32) / 255.0
