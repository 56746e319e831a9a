"""The files of a run: checkpoints, `metrics.jsonl`, samples."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trainer.checkpoints.background import BackgroundWriter, StateCopy
from trainer.checkpoints.files import (
    BEST,
    LAST,
    PREVIOUS,
    copy_checkpoint,
    keep_earlier,
    remove_leftovers,
    rotate_and_save,
)
from trainer.config.settings import RunConfig
from trainer.errors import ConfigError, Problem, WriteError, no_room
from trainer.outcome import Evaluation
from trainer.run.trackers import open_trackers
from trainer.store.text import METRICS, SAMPLES, write_whole
from trainer.task.protocols import Scores

if TYPE_CHECKING:
    from trainer.run.run import Run


class RunWriter:
    """Writes the files of one run. Each epoch is in `metrics.jsonl` once: on a resume the file is rewritten from the
    checkpoint's own history, so that what was written after that checkpoint is written again.

    `continued_from` is the checkpoint that the run continues from; without one it starts from its first epoch.
    `along` are the files, by name, that a run continued from another folder begins with. `replaced` is a line on an
    earlier run's checkpoints, where this run takes their place.
    """

    def __init__(
        self,
        config: RunConfig,
        history: list[Evaluation],
        continued_from: Path | None = None,
        along: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        self.config = config
        self.folder, self.log_folder = config.checkpoint.dir, config.logging_dir
        self.trackers = open_trackers(config)
        self.last_checkpoint = str(continued_from) if continued_from else ""
        self.replaced = ""
        self._copy, self._background = StateCopy(), BackgroundWriter()
        try:
            for folder in (self.folder, self.log_folder):
                folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.folder)
            self._write_metrics(history)
            if continued_from is None or along:
                self.replaced = keep_earlier(self.folder)
                for name in (LAST, PREVIOUS, BEST):  # they must never be taken for this run's
                    (self.folder / name).unlink(missing_ok=True)
            for name, source in along.items():
                copy_checkpoint(source, self.folder / name)
                self.last_checkpoint = str(self.folder / LAST)
        except OSError as error:
            if no_room(error):
                raise _full(error, self.log_folder) from error
            what = f"{error.filename or self.folder} cannot be written ({error.strerror})"
            raise ConfigError([Problem("checkpoint.dir", what)]) from None

    def rewrite(self, history: list[Evaluation]) -> None:
        """Makes `metrics.jsonl` hold exactly this history."""
        with _write_errors(self.log_folder):
            self._write_metrics(history)

    def stepped(self, run: Run) -> Mapping[str, float]:
        """Gives the trackers the mean loss of the epoch so far and the rate, after an optimizer step, and returns
        both."""
        numbers = {"running_loss": run.mean_loss(), "running_lr": run.rate()}
        for tracker in self.trackers:
            tracker.log_step(run.progress.step, numbers)
        return numbers

    def evaluated(self, evaluation: Evaluation, scores: Scores, improved: bool) -> None:
        """Appends the evaluation's line and keeps its samples."""
        with _write_errors(self.log_folder):
            for tracker in self.trackers:
                tracker.log(evaluation)
            if self.config.logging.save_metrics:
                with (self.log_folder / METRICS).open("a", encoding="utf-8") as file:
                    file.write(f"{json.dumps(evaluation.line())}\n")
            if scores.samples or scores.matrix:
                write_samples(self.log_folder / SAMPLES, evaluation.epoch, scores, improved)

    def save(self, run: Run, best: bool = False) -> None:
        """Writes `last.pth`; an improvement also becomes `best.pth`, a due epoch `checkpoint_epoch_N.pth`.

        Returns once the state is copied; the files are whole after `wait`, which raises an error of writing them.
        """
        checkpoint = self.config.checkpoint
        if not checkpoint.save:
            return
        self.wait()  # what is being written is in the same buffers
        epoch, every = run.progress.epoch, checkpoint.every_n_epochs
        names = [BEST] if best else []
        if every is not None and run.progress.batches == 0 and epoch and epoch % every == 0:
            names.append(f"checkpoint_epoch_{epoch}.pth")
        state = self._copy.take(run.state())
        self._background.start(lambda: self._write(state, names))

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._background.busy

    def wait(self) -> None:
        """Returns once the last checkpoint's files are whole; raises what their writing raised."""
        self._background.wait()

    def close(self) -> None:
        """Ends the writing and closes the trackers."""
        with suppress(WriteError):  # a caller that closes without waiting is raising another error
            self.wait()
        while self.trackers:
            self.trackers.pop().close()

    def _write(self, state: dict[str, Any], names: list[str]) -> None:
        last = rotate_and_save(state, self.folder)
        self.last_checkpoint = str(last)
        with _write_errors(self.folder):
            for name in names:
                copy_checkpoint(last, self.folder / name)

    def _write_metrics(self, history: list[Evaluation]) -> None:
        if self.config.logging.save_metrics:
            text = "".join(f"{json.dumps(evaluation.line())}\n" for evaluation in history)
            write_whole(self.log_folder / METRICS, text)


def write_samples(folder: Path, epoch: int, scores: Scores, improved: bool) -> None:
    """`last.json` and, of an improvement, `best.json`, with the image files that they name.

    An image file is named by its content, so that each JSON file always names its own; unnamed ones are removed.
    """
    folder.mkdir(exist_ok=True)
    kept = [{name: _as_file(folder, value) for name, value in sample.items()} for sample in scores.samples]
    matrix = {"matrix": dict(scores.matrix)} if scores.matrix else {}
    text = json.dumps({"epoch": epoch, "samples": kept, **matrix}, ensure_ascii=False)
    for name in ("last.json", "best.json") if improved else ("last.json",):
        write_whole(folder / name, text)
    best = folder / "best.json"
    named = text + (best.read_text(encoding="utf-8") if best.is_file() else "")
    for picture in folder.glob("*.png"):
        if picture.name not in named:
            picture.unlink(missing_ok=True)


def _as_file(folder: Path, value: Any) -> Any:
    """The name of an image's file, which is written if missing; anything else as it is."""
    if not isinstance(value, bytes):
        return value
    name = f"{hashlib.sha256(value).hexdigest()[:16]}.png"
    if not (folder / name).is_file():
        write_whole(folder / name, value)
    return name


@contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    """Turns an `OSError` into a `WriteError` that names the file; checkpoints are whole or not there at all."""
    try:
        yield
    except OSError as error:
        raise _full(error, folder) from error


def _full(error: OSError, folder: Path) -> WriteError:
    what = f"{error.filename or folder} could not be written ({error.strerror or error})"
    free = shutil.disk_usage(folder).free / 1e6
    return WriteError(f"{what}; {free:.1f} MB are free in {folder}; the checkpoints there are intact")
