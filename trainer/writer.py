"""What a run leaves on disk: checkpoints, `metrics.jsonl`, samples."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.checkpoint import BEST, LAST, PREVIOUS, copy_checkpoint, rotate_and_save
from trainer.config import RunConfig
from trainer.errors import ConfigError, Problem
from trainer.outcome import Evaluation
from trainer.task import Scores

if TYPE_CHECKING:
    from trainer.run import Run

METRICS, SAMPLES = "metrics.jsonl", "samples"


class RunWriter:
    """Writes for one run. An epoch stands in `metrics.jsonl` once: on a resume the file is rewritten from the
    checkpoint's own history, so that what was written after that checkpoint is written again."""

    def __init__(self, config: RunConfig, history: list[Evaluation]) -> None:
        self.config = config
        self.folder, self.log_folder = config.checkpoint.dir, config.logging_dir
        self.last_checkpoint = str(self.folder / LAST) if history else ""
        try:
            for folder in (self.folder, self.log_folder):
                folder.mkdir(parents=True, exist_ok=True)
            if config.logging.save_metrics:
                text = "".join(f"{json.dumps(evaluation.line())}\n" for evaluation in history)
                write_whole(self.log_folder / METRICS, text)
        except OSError as error:
            what = f"{error.filename or self.folder} cannot be written ({error.strerror})"
            raise ConfigError([Problem("checkpoint.dir", what)]) from None

    def start_afresh(self) -> None:
        """Removes an earlier run's checkpoints, so that none of them is ever taken for this run's."""
        for name in (LAST, PREVIOUS, BEST):
            (self.folder / name).unlink(missing_ok=True)

    def evaluated(self, evaluation: Evaluation, scores: Scores, improved: bool) -> None:
        """Appends the evaluation's line and keeps its samples."""
        if self.config.logging.save_metrics:
            with (self.log_folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(evaluation.line())}\n")
        if scores.samples:
            folder = self.log_folder / SAMPLES
            folder.mkdir(exist_ok=True)
            text = json.dumps(
                {"epoch": evaluation.epoch, "samples": list(scores.samples)}, ensure_ascii=False
            )
            write_whole(folder / "last.json", text)
            if improved:
                write_whole(folder / "best.json", text)

    def save(self, run: Run, best: bool = False) -> None:
        """Writes `last.pth`; an improvement also becomes `best.pth`, a due epoch `checkpoint_epoch_N.pth`."""
        checkpoint = self.config.checkpoint
        if not checkpoint.save:
            return
        last = rotate_and_save(run.state(), self.folder)
        self.last_checkpoint = str(last)
        if best:
            copy_checkpoint(last, self.folder / BEST)
        epoch, every = run.progress.epoch, checkpoint.every_n_epochs
        if every is not None and run.progress.batches == 0 and epoch and epoch % every == 0:
            copy_checkpoint(last, self.folder / f"checkpoint_epoch_{epoch}.pth")


def write_whole(path: Path, text: str) -> None:
    """Replaces a small file in one move."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The evaluations in a `metrics.jsonl`; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
