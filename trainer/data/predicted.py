"""Predictions for the files of a folder, a few at a time: what cannot be read costs its own row and no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from trainer.config.settings import RunConfig
from trainer.data.image_folders import SUFFIXES, files_below
from trainer.errors import DataError, NothingPredictedError, listed
from trainer.task.batches import in_blocks

_log = logging.getLogger(__name__)
Item = TypeVar("Item")
Row = Mapping[str, Any]
Read = Callable[[str], Item]  # the content of a file by its name; `DataError` where it cannot be read
Predict = Callable[[Sequence[str], Sequence[Item]], Sequence[Sequence[Row]]]  # names, contents → the rows of each


def rows_of_images(folder: Path, config: RunConfig, read: Read[Item], predict: Predict[Item]) -> Iterator[Row]:
    """The rows of the images in and below a folder, by name; `DataError` where there is none.

    Of an image that cannot be read the row holds its name alone, or it is left out where `data.bad_samples` is `skip`;
    a warning at the end says so. `NothingPredictedError` where none can be read.
    """
    names = files_below(folder, SUFFIXES)
    if not names:
        raise DataError(f"{folder}: no image in it ({', '.join(sorted(SUFFIXES))})")
    return _rows(folder, config, names, "image", read, predict)


def rows_of_prompts(folder: Path, config: RunConfig, read: Read[Item], predict: Predict[Item]) -> Iterator[Row]:
    """The rows of the text files in and below a folder; as of images."""
    names = files_below(folder, {".txt"})
    if not names:
        raise DataError(f"{folder}: no prompt in it (*.txt, one prompt a file)")
    return _rows(folder, config, names, "prompt", read, predict)


def _rows(
    folder: Path, config: RunConfig, names: Sequence[str], kind: str, read: Read[Item], predict: Predict[Item]
) -> Iterator[Row]:
    skip = config.data.bad_samples == "skip"
    failed: dict[str, DataError] = {}
    for block in in_blocks(names, config.training.val_batch_size or config.training.batch_size):
        contents: dict[str, Item] = {}
        for name in block:
            try:
                contents[name] = read(name)
            except DataError as error:
                failed[name] = error
        found = predict(list(contents), list(contents.values())) if contents else ()
        rows = dict(zip(contents, found, strict=True))
        for name in block:
            if name in rows:
                yield from rows[name]
            elif not skip:
                yield {kind: name}
    if failed:
        named = f"{folder}: {listed(list(failed), f'unreadable {kind}')}"
        if len(failed) == len(names):
            raise NothingPredictedError(f"{named}, and no other in it ({next(iter(failed.values()))})")
        if skip:
            _log.warning("%s left out (data.bad_samples=skip)", named)
        else:
            _log.warning("%s, without a prediction (%s)", named, next(iter(failed.values())))
