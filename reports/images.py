"""Pictures for the report: small, as data URIs, so that the page stays one file."""

from __future__ import annotations

import base64
import functools
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

MAX_SIDE_PX = 256
JPEG_QUALITY = 80
# What Pillow raises for a broken, hostile or unknown file; ValueError is also a path with a NUL in it.
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Picture:
    """A small copy as a JPEG data URI, and the size of the file that it was made from, as its pixels are stored."""

    uri: str
    width_px: int
    height_px: int


def thumbnail_uri(path: Path) -> str | None:
    """The image as a JPEG data URI of at most 256 px a side; None where no file reads as an image."""
    found = picture_of(path)
    return found.uri if found else None


def picture_of(path: Path, upright: bool = True) -> Picture | None:
    """The image and its size; with `upright` turned as its camera was held, without as its pixels are stored."""
    try:
        # A pipe or a device in place of a file would block for ever.
        if not path.is_file():
            return None
        stat = path.stat()
        return _encoded(path, upright, stat.st_mtime_ns, stat.st_size)
    except _UNREADABLE:
        return None


@functools.lru_cache(maxsize=256)
def _encoded(path: Path, upright: bool, mtime_ns: int, size: int) -> Picture:  # noqa: ARG001  the key of the cache: a new file is read anew
    with Image.open(path) as image:
        width, height = image.size
        # JPEGs decode at a fraction of their size when asked before loading.
        image.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))
        turned = ImageOps.exif_transpose(image) if upright else image
        turned.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
        flat = Image.new("RGB", turned.size, "white")
        layer = turned.convert("RGBA")
        flat.paste(layer, mask=layer.getchannel("A"))
    buffer = io.BytesIO()
    flat.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Picture(uri, width, height)
