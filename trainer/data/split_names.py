"""The usual names of the sides of a split, as folders and tables have them. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from typing import Any

TRAIN, VALIDATION, TEST = SIDES = "train", "val", "test"
COLUMNS = ("split", "subset", "partition", "set", "data set", "dataset", "phase", "usage")
_NAMES = {
    TRAIN: ("train", "training", "trn", "restval"),
    VALIDATION: ("val", "valid", "validate", "validation", "dev", "eval", "evaluation"),
    TEST: ("test", "testing", "tst"),
}
_SIDE = {name: side for side, names in _NAMES.items() for name in names}
_AROUND = re.compile(r"[\s_-]*(set|split|data|images|imgs)?[\s_-]*((19|20)\d\d)?$")  # as in train_set, val2017


def side_of(name: str) -> str:
    """The side of the split that a folder, or a word in a table, stands for; empty for any other name."""
    plain = name.strip().lower()
    return _SIDE.get(plain) or _SIDE.get(_AROUND.sub("", plain), "")


def split_column(names: Container[str], values: Callable[[str], Iterable[Any]]) -> str | None:
    """The column of a table that says the side of each image: `split`, or one of a like name with two sides in it."""
    for name in COLUMNS:
        if name in names:
            sides = {side_of(value) for value in values(name) if isinstance(value, str)}
            if name == COLUMNS[0] or (TRAIN in sides and sides & {VALIDATION, TEST}):
                return name
    return None
