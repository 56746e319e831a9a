"""The checkpoint that `checkpoint.resume` names, and the files that a run takes to another folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.checkpoints.files import BEST, LAST, load_checkpoint, load_newest
from trainer.errors import CheckpointError
from trainer.outcome import Evaluation

if TYPE_CHECKING:
    from trainer.run.run import Run

# The numbers by which an evaluation is recognised; other metrics may be NaN, which equals nothing.
_mark = attrgetter("epoch", "step", "rung", "seconds", "value")


def load_for_resume(path: Path) -> tuple[dict[str, Any], Path, Sequence[str]]:
    """The state, its file, and a line on each damaged file that was skipped.

    A folder stands for its newest checkpoint; a damaged `last.pth` for the one before it.
    """
    if not path.is_dir() and path.name != LAST:
        return load_checkpoint(path), path, ()
    newest = load_newest(path if path.is_dir() else path.parent)
    if newest is None:
        raise CheckpointError(f"{path}: no such checkpoint")
    return newest


def taken_along(run: Run, source: Path, say: Callable[[str], None]) -> dict[str, Path]:
    """Files by name that `checkpoint.dir` begins with where a run continues from another folder.

    `last.pth` is the checkpoint itself, `best.pth` that of the best evaluation so far; where it is missing a
    warning says so, and no other file takes its place. None for a run that stays in its folder or keeps no checkpoints.
    """
    source, folder = source.absolute(), run.config.checkpoint.dir
    real = source.resolve()
    stays = folder.is_dir() and any(folder.samefile(parent) for parent in (source.parent, real.parent))
    if stays or not run.config.checkpoint.save:
        return {}
    files = {LAST: real}
    epoch = run.progress.best_epoch
    names = (source.parent / BEST, source.parent / f"checkpoint_epoch_{epoch}.pth", real)
    best = next((path for path in names if path.is_file() and _is_best(run, path)), None)
    if best is not None:
        files[BEST] = best.resolve()
    elif not math.isnan(run.progress.best):
        what = f"the checkpoint of the best evaluation so far (epoch {epoch}) is not beside {source.name}"
        say(f"warning: {what}: {folder} has no {BEST} until a later one is better")
    return files


def _is_best(run: Run, path: Path) -> bool:
    """Whether a file is the checkpoint of an evaluation of this run that is unbeaten on the interval."""
    try:
        state = load_checkpoint(path)
    except CheckpointError:
        return False
    return _same_past(run, state) and _unbeaten(run, len(state["history"]) - 1)


def _same_past(run: Run, state: Mapping[str, Any]) -> bool:
    """Whether a state is this run's own, just after its last evaluation, equal even in its seconds."""
    past = [_mark(Evaluation(**evaluation)) for evaluation in state["history"]]
    if not past or state["task"] != run.config.task or state["progress"]["step"] != state["history"][-1]["step"]:
        return False
    return past == [_mark(evaluation) for evaluation in run.history[: len(past)]]


def _unbeaten(run: Run, index: int) -> bool:
    """Whether an evaluation is the best; one forced by the end of a run may beat the best on the interval."""
    evaluation, progress = run.history[index], run.progress
    if evaluation.rung != progress.rung:
        return False
    known = not math.isnan(progress.best)
    return not known or evaluation.epoch == progress.best_epoch or run.metric.better(evaluation.value, progress.best)
