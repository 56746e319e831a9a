"""What a person sees of one run: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from trainer.outcome import Evaluation, Heartbeat

_REDRAW_SECONDS = 0.2


class RunConsole:
    """Shows one run on stderr, so that stdout stays free for results."""

    def __init__(self, epochs: int) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.epochs = epochs
        self._drawn = 0.0
        counts = TextColumn("{task.completed}/{task.total} {task.fields[unit]}")
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), counts, TimeRemainingColumn(),
            console=self.console, transient=True, disable=not self.console.is_terminal,
        )  # fmt: skip
        self._line = self._bar.add_task("", total=1, unit="")

    def __enter__(self) -> RunConsole:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)

    def preparing(self, done: int, total: int) -> None:
        """Shows how much is built of what is missing of the data."""
        self._bar.update(self._line, description="preparing the data, once", completed=done, total=total)

    def heartbeat(self, beat: Heartbeat) -> None:
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_SECONDS:
            self._drawn = now
            position = f"epoch {beat.epoch}/{self.epochs}"
            self._bar.update(self._line, description=position, completed=beat.step, total=beat.steps, unit="steps")

    def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
        """A line every `logging.every_n_steps`, beside what the trackers get."""
        self.say(f"step {step}  {'  '.join(f'{name} {number:.4g}' for name, number in numbers.items())}")

    def report(self, evaluation: Evaluation) -> None:
        numbers = "  ".join(f"{name} {number:.4g}" for name, number in evaluation.metrics.items())
        self.say(
            f"epoch {evaluation.epoch}/{self.epochs}  step {evaluation.step}  {numbers}  {evaluation.seconds:.1f} s"
        )
