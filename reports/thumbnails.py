"""Small copies of images as data URIs, so that the report stays one file."""

from __future__ import annotations

import base64
import functools
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

MAX_SIDE_PX = 256
JPEG_QUALITY = 80
# What Pillow raises for a broken, malicious or unknown file; a path with a NUL byte also raises ValueError.
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Picture:
    """A small copy as a JPEG data URI, and the size in pixels of the original as stored in its file."""

    uri: str
    width_px: int
    height_px: int


def picture_of(path: Path, upright: bool = True) -> Picture | None:
    """The image, at most 256 px on a side, and its size; None if the file cannot be read as an image.

    `upright` applies the EXIF orientation; otherwise the pixels stay as they are stored.
    """
    try:
        # A pipe or a device instead of a file would block forever.
        if not path.is_file():
            return None
        stat = path.stat()
        return _encoded(path, upright, stat.st_mtime_ns, stat.st_size)
    except _UNREADABLE:
        return None


@functools.lru_cache(maxsize=256)
def _encoded(path: Path, upright: bool, mtime_ns: int, size: int) -> Picture:  # noqa: ARG001  cache key: a changed file is read again
    with Image.open(path) as image:
        width, height = image.size
        # Makes Pillow decode a JPEG at a fraction of its size; must come before loading.
        image.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))
        oriented = ImageOps.exif_transpose(image) if upright else image
        oriented.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
        flat = Image.new("RGB", oriented.size, "white")
        layer = oriented.convert("RGBA")
        flat.paste(layer, mask=layer.getchannel("A"))
    buffer = io.BytesIO()
    flat.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Picture(uri, width, height)
