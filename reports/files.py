"""Files that are whole or not there: a reader never meets half a table."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text to a temporary file beside `path`, fsync it and move it into place.

    Line ends stay as they are. What has no encoding (a file name that is not Unicode) is as `\\udc80`.
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
        error.filename = str(path)  # what the reader knows; nobody asked for the temporary file
        raise
    finally:
        temporary.unlink(missing_ok=True)
