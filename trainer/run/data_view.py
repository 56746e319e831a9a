"""The data of a run as a person looks at them: counts, sizes, and what the loader gives of both sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from trainer.config.settings import RunConfig
from trainer.data.batches import EpochBatches, build_loader
from trainer.data.loaders import size_at
from trainer.errors import ConfigError, Problem, counted
from trainer.run.data_page import BEGINNING, Sheet, data_page
from trainer.run.run import task_for
from trainer.store.arrays import OnProgress
from trainer.task.batches import RowSource
from trainer.task.checks import given
from trainer.task.defaults import TaskDefaults
from trainer.task.pictures import Census, DataPicture, described
from trainer.task.protocols import DataSummary, Rows, Task

_PICTURES = 24  # of each side
_COUNTS = 20  # of classes, in the text; the page has all
_TURNED = range(5, 9)  # EXIF orientations with the sides exchanged
_ORIENTATION = 0x0112
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


def show(config: RunConfig, summary: DataSummary, progress: OnProgress) -> tuple[str, str]:
    """The data as text and as a page of HTML. The pictures are those that the first epoch begins with."""
    task = task_for(config)
    rows = given(config.task, "rows_to_show", _of(task, "rows_to_show")(progress), Rows)
    census = given(config.task, "census", _of(task, "census")(), Census)
    facts = {
        "Data": summary.words,
        "Task": f"{config.task} at {size_at(config, 1)} px" if census.files else config.task,
        "Training": f"{counted(summary.train_images, 'sample')}, {counted(summary.train_rows, 'row')} an epoch",
        "Validation": counted(summary.val_images, "sample"),
        **({"Left out": str(summary.skipped)} if summary.skipped else {}),
        **_sizes(census.files),
    }
    size, seed = config.training.batch_size, config.seed
    train = EpochBatches(len(rows.train), size, seed, shuffle=not config.training.overfit)
    val = EpochBatches(len(rows.val), config.training.val_batch_size or size, 0, shuffle=False)
    sheets = [
        _sheet("Training, as the first epoch begins", task, rows.train, train),
        _sheet("Validation", task, rows.val, val),
    ]
    page = data_page(config.experiment_name, facts, census.counts, summary.warnings, sheets)
    return _as_text(facts, census, summary.warnings), page


def writable(page: Path) -> None:
    """`ConfigError` where a page cannot be written to this place, or a file of another kind would be lost."""
    wrong = ""
    if page.is_dir():
        wrong = f"{page} is a folder; name a file"
    elif not page.parent.is_dir():
        wrong = f"{page.parent}: no such folder"
    elif page.exists() and not page.is_file():
        wrong = f"{page} is no ordinary file"
    elif page.exists() and page.stat().st_size and not page.read_bytes().startswith(BEGINNING.encode()):
        wrong = f"{page} is there already, and is no page of data; name another file"
    if wrong:
        raise ConfigError([Problem("--output", wrong)])


def _of(task: Task, method: str) -> Callable[..., Any]:
    """A method that shows data; the default one where a task does not have it."""
    own: Callable[..., Any] | None = getattr(task, method, None)
    return own or partial(getattr(TaskDefaults, method), task)


def _sheet(title: str, task: Task, source: RowSource, batches: EpochBatches) -> Sheet:
    pictures: list[DataPicture] = []
    entries: Sequence[str] = ()
    for batch in build_loader(source, batches, num_workers=0, prefetch_factor=1, pin_memory=False):
        entries = entries or described(batch)
        found = _of(task, "pictures")(batch)
        pictures += found
        if not found or len(pictures) >= _PICTURES:
            break
    return Sheet(title, pictures[:_PICTURES], entries)


def _sizes(files: Sequence[Path]) -> dict[str, str]:
    """The smallest, the median and the largest image by area, as they are seen, from the heads of their files."""
    sizes = sorted(((*size, path) for path in files if (size := _size(path))), key=lambda each: each[0] * each[1])
    if not sizes:
        return {}
    smallest, median, largest = (sizes[place] for place in (0, len(sizes) // 2, -1))
    told = [f"smallest {smallest[0]}×{smallest[1]} ({smallest[2].name})", f"median {median[0]}×{median[1]}"]
    return {"Image sizes": ", ".join([*told, f"largest {largest[0]}×{largest[1]} ({largest[2].name})"])}


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels; None for a file that is no image, which the check of the data reports."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(_ORIENTATION) in _TURNED else (width, height)
    except _UNREADABLE:
        return None


def _as_text(facts: Mapping[str, str], census: Census, warnings: Sequence[str]) -> str:
    lines = [f"{name}: {text}" for name, text in facts.items()]
    lines += [f"  {name}: {train} in training, {val} in validation" for name, (train, val) in census.counts.items()][
        :_COUNTS
    ]
    if len(census.counts) > _COUNTS:
        lines.append(f"  and {len(census.counts) - _COUNTS} more, which the page shows")
    return "\n".join([*lines, *(f"warning: {warning}" for warning in warnings)])
