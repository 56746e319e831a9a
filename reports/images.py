"""Pictures for the report: small, as data URIs, so that the page stays one file."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path

from PIL import Image, ImageOps

MAX_SIDE_PX = 256
JPEG_QUALITY = 80


def thumbnail_uri(path: Path) -> str | None:
    """The image as a JPEG data URI of at most 256 px a side; None where no file reads as an image."""
    try:
        # A pipe or a device in place of a file would block for ever.
        if not path.is_file():
            return None
        stat = path.stat()
        return _encoded(path, stat.st_mtime_ns, stat.st_size)
    # Pillow raises these for a broken, hostile or unknown file; ValueError is also a path with a NUL in it.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None


@functools.lru_cache(maxsize=256)
def _encoded(path: Path, mtime_ns: int, size: int) -> str:  # noqa: ARG001  the key of the cache: a new file is read anew
    with Image.open(path) as image:
        # JPEGs decode at a fraction of their size when asked before loading.
        image.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))
        upright = ImageOps.exif_transpose(image)
        upright.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
        flat = Image.new("RGB", upright.size, "white")
        layer = upright.convert("RGBA")
        flat.paste(layer, mask=layer.getchannel("A"))
    buffer = io.BytesIO()
    flat.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
