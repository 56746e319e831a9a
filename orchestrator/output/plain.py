"""Plain lines on stderr: a line for each evaluation and each change, or only warnings and failures."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from orchestrator.engine.stage import Stage
from orchestrator.output.views import is_news, result_text, stderr_console
from orchestrator.slots.slot import Beat, Slot
from orchestrator.study.trial import TrialState


class PlainView:
    """One line for every evaluation and every change of state, to stderr."""

    def __init__(self) -> None:
        self.console = stderr_console()
        self._shown: dict[tuple[str, int], int] = {}  # the last epoch of each trial that had its line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def say(self, text: str, urgent: bool = False) -> None:
        self.console.print(text, soft_wrap=True)

    def line(self, text: str) -> None:
        self.say(text)

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        if is_news(self._shown, stage, trial):
            self.line(f"{trial.label} epoch {trial.epochs}/{stage.until_epoch(trial)}: {result_text(stage, trial)}")

    def beat(self, stage: Stage, slot: Slot, beat: Beat) -> None:
        """Steps are too many for lines."""

    def tick(self, stage: Stage) -> None:
        """Lines come when something happens."""


class QuietView(PlainView):
    """Warnings and failures, to stderr; what a study finds is in its folder, how it ended in the exit status."""

    def __init__(self) -> None:
        super().__init__()
        self._loud, self.console = self.console, stderr_console(quiet=True)

    def say(self, text: str, urgent: bool = False) -> None:
        if urgent:
            self._loud.print(text, soft_wrap=True)
