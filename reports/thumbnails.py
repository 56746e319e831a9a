"""Small copies of images as data URIs, so that the report stays one file."""

from __future__ import annotations

import base64
import functools
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

MAX_SIDE_PX = 256
JPEG_QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """A small copy as a JPEG data URI, and the size in pixels of the original as a person sees it."""

    uri: str
    width_px: int
    height_px: int


def picture_of(path: Path) -> Picture | None:
    """The image, turned as EXIF says, at most 256 px on a side, and its size; None if it cannot be read as an image."""
    try:
        # A pipe or a device instead of a file would block forever.
        if not path.is_file():
            return None
        stat = path.stat()
        return _encoded(path, stat.st_mtime_ns, stat.st_size)
    except Exception:  # noqa: BLE001 - on a damaged file Pillow may raise any exception
        return None


def shown(image: Image.Image) -> Image.Image:
    """An image as a viewer shows it, in RGB: turned as EXIF says, on white where it is transparent, and deep grey from
    its darkest to its lightest value."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(upright, dtype=np.float64), posinf=0.0, neginf=0.0)
        levels = (values - values.min()) * (255.0 / ((values.max() - values.min()) or 1.0))
        upright = Image.fromarray(levels.astype(np.uint8))
    layer = upright.convert("RGBA")
    flat = Image.new("RGB", layer.size, "white")
    flat.paste(layer, mask=layer.getchannel("A"))
    return flat


@functools.lru_cache(maxsize=256)
def _encoded(path: Path, mtime_ns: int, size: int) -> Picture:  # noqa: ARG001  cache key: a changed file is read again
    with Image.open(path) as image:
        width, height = image.size
        # Makes Pillow decode a JPEG at a fraction of its size; must come before loading.
        image.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))
        flat = shown(image)
        if flat.size != image.size:  # a quarter turn
            width, height = height, width
    flat.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    buffer = io.BytesIO()
    flat.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Picture(uri, width, height)
