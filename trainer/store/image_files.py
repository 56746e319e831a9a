"""Image files as pixels: as a person sees them, with eight bits, at one size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from trainer.errors import DataError, first_line

Pixels = NDArray[np.uint8]
TRANSFORM = 4  # increased whenever `decode` would give other pixels
# Pillow's modes by number of channels: the colours, and opacity where it is asked for.
MODES = {1: ("L",), 2: ("L", "A"), 3: ("RGB",), 4: ("RGB", "A")}
_SIXTEEN_BITS = (0.0, 65535.0)
# What EXIF's orientation asks a viewer to do. Source: Exif 2.32, tag 0x0112.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = range(5, 9)


@dataclass(frozen=True)
class Rendering:
    """How files become pixels of eight bits.

    `ground` is the colour behind what is transparent. `value_range` are the values that become black and white in grey
    images of more than eight bits; without one they are 0 and 65535, and floating-point images are refused.
    """

    ground: tuple[int, int, int] = (255, 255, 255)
    value_range: tuple[float, float] | None = None

    def ground_in(self, channels: int) -> tuple[int, ...]:
        """The colour of the ground, as one of `MODES`, without opacity."""
        pixel = Image.new("RGB", (1, 1), self.ground).convert(MODES[channels][0])
        return tuple(np.asarray(pixel).reshape(-1).tolist())


AS_IT_IS = Rendering()


class Header(NamedTuple):
    """An image without its pixels: its size as a person sees it, 0 × 0 where the file is unreadable.

    `sideways`: in the file width and height stand the other way round, and EXIF asks for a quarter turn; `deep`: grey
    of more than eight bits.
    """

    width: int
    height: int
    sideways: bool = False
    deep: bool = False


def decode(path: Path, size_px: int, channels: int = 3, rendering: Rendering = AS_IT_IS) -> Pixels:
    """An image file, turned as EXIF says, resized to a square of `size_px`, as one of `MODES`.

    Returns uint8 [size_px, size_px, channels]. Colours are those on the ground of `rendering`, also with opacity
    beside them: whether a run pastes its images must not change those that it validates on. `DataError` names an
    unreadable file.
    """
    with _opened(path) as image:
        colours, opacity = _flattened(_eight_bits(_upright(image), rendering.value_range), rendering.ground)
        parts = [
            (opacity or Image.new("L", colours.size, 255)) if mode == "A" else colours.convert(mode)
            for mode in MODES[channels]
        ]
        small = (part.resize((size_px, size_px), Image.Resampling.BILINEAR) for part in parts)
        return np.dstack([np.asarray(part) for part in small])


def header_of(path: Path) -> Header:
    """What is known of an image before its pixels are read; `DataError` names an unreadable file."""
    with _opened(path) as image:
        width, height = image.size
        turn = _orientation(image)
        if image.format == "TIFF":  # turned by Pillow itself; some versions tell the size before, some after it
            tags: Any = image.tag_v2  # type: ignore[attr-defined]
            width, height = tags[ExifTags.Base.ImageWidth], tags[ExifTags.Base.ImageLength]
            turn = tags.get(ExifTags.Base.Orientation, 1)
        sideways = turn in _SIDEWAYS
        return Header(*((height, width) if sideways else (width, height)), sideways, _is_deep(image))


def extremes(path: Path) -> tuple[float, float]:
    """The smallest and the largest value of a grey image; `DataError` names an unreadable file, or one with NaN."""
    with _opened(path) as image:
        values = _finite(image)
        return float(values.min()), float(values.max())


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:  # noqa: BLE001 - on a damaged file a library of images may raise any exception
        what = f"not a readable image ({first_line(error)})"
        raise DataError(f"{path}: {what}; data.bad_samples=skip leaves such files out") from None


def _upright(image: Image.Image) -> Image.Image:
    turn = None if image.format == "TIFF" else _TURNS.get(_orientation(image))  # Pillow turns TIFFs itself
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none, or EXIF is damaged: viewers do not turn such an image either.

    Read before the pixels: what a PNG has behind them does not count.
    """
    try:
        # The method of all images: that of PNG would decode the pixels first, in search of a late EXIF.
        found = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - as above; the picture itself may be sound
        return 1
    return int(found) if found in _TURNS else 1


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith(("I", "F"))


def _finite(image: Image.Image) -> NDArray[np.float64]:
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinite values")
    return values


def _eight_bits(image: Image.Image, value_range: tuple[float, float] | None) -> Image.Image:
    """A grey image of more bits with 256 equal steps of its range; Pillow would make everything above 255 white."""
    if not _is_deep(image):
        return image
    floating = image.mode == "F"
    if floating and value_range is None:
        raise ValueError("floating-point grey has no fixed range: set data.value_range=[LOW, HIGH]")
    low, high = value_range or _SIXTEEN_BITS
    span = high - low if floating else high - low + 1.0  # whole numbers: from the first to the last of them
    levels = (_finite(image) - low) * (256.0 / (span or 1.0))
    return Image.fromarray(levels.clip(0.0, 255.0).astype(np.uint8))


def _flattened(image: Image.Image, ground: tuple[int, int, int]) -> tuple[Image.Image, Image.Image | None]:
    """The colours that a person sees on this ground, and the opacity (mode L) where anything is transparent."""
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        opacity = layer.getchannel("A")
        if opacity.getextrema() != (255, 255):
            flat = Image.new("RGB", layer.size, ground)
            flat.paste(layer, mask=opacity)
            return flat, opacity
    return image, None
