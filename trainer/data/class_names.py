"""Names of classes that look like mistakes: two spellings of one, or a missing label. Imports no torch."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation

_MISSING = frozenset(("", "nan", "null", "none", "nil", "n/a", "na", "<na>", "#n/a", "undefined", "?", "-"))
_SHOWN = 5  # mistakes of a kind


def doubtful_classes(images: Mapping[str, int]) -> list[str]:
    """A warning on classes that differ only in how they are written, and on what stands for a missing label.

    `images`: classes with their numbers of images, or of boxes. Nothing where there is no such class.
    """
    alike: dict[str, list[str]] = {}
    for name in images:
        alike.setdefault(_plainest(name), []).append(name)
    groups = [" and ".join(_counted(name, images) for name in names) for names in alike.values() if len(names) > 1]
    missing = [_counted(name, images) for name in images if _plainest(name) in _MISSING]
    told = [f"{_some(groups)} differ only in how they are written"] if groups else []
    told += [f"{_some(missing)} may stand for a missing label"] if missing else []
    return [f"classes that may be mistakes: {', and '.join(told)}; each is a class of its own"] if told else []


def absent_classes(noun: str, sides: Mapping[str, Sequence[str]]) -> list[str]:
    """A warning for each use of the data, such as `train on`, that has no `noun` of some classes."""
    return [f"no {noun} to {use} for class {_some(names, ', ')}" for use, names in sides.items() if names]


def _some(items: Sequence[str], between: str = "; ") -> str:
    return between.join(items[:_SHOWN]) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")


def _counted(name: str, images: Mapping[str, int]) -> str:
    """A name with its number; with codes for its letters where it looks like one in the usual Unicode form."""
    return f"{repr(name) if unicodedata.is_normalized('NFC', name) else ascii(name)} ({images[name]})"


def _plainest(name: str) -> str:
    """What is left of a name without its case, its blanks, its Unicode form, and the zeros of a number."""
    plain = "".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())
    with suppress(InvalidOperation):
        number = Decimal(plain)
        if number.is_finite():
            return str(number.normalize() + 0)
    return plain
