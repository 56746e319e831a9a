"""Prompts to make images from: a folder of text files."""

from __future__ import annotations

from pathlib import Path

from trainer.data.image_folders import files_below
from trainer.errors import DataError, listed


def prompts_in(folder: Path) -> list[tuple[str, str]]:
    """The name and the text of each text file in and below a folder, by name; `DataError` where there is none, or an
    empty one."""
    names = files_below(folder, {".txt"})
    if not names:
        raise DataError(f"{folder}: no prompt in it (*.txt, one prompt a file)")
    prompts: list[tuple[str, str]] = []
    wrong: list[str] = []
    for name in names:
        try:
            text = " ".join((folder / name).read_text(encoding="utf-8-sig").split())
        except (OSError, UnicodeDecodeError):
            text = ""
        if text:
            prompts.append((name, text))
        else:
            wrong.append(name)
    if wrong:
        raise DataError(f"{folder}: {listed(wrong, 'file')} without readable words")
    return prompts
