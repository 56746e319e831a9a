"""Atomic writes: a reader never sees a partly written file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text to a temporary file beside `path`, fsync it and move it into place.

    Line ends are kept. A character that UTF-8 cannot encode (from a file name that is not Unicode) becomes `\\udc80`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(text.encode("utf-8", errors="backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # the user knows this name, not the temporary one
        raise
    finally:
        temporary.unlink(missing_ok=True)
