"""The views with plain lines on stderr: all evaluations and changes, or only warnings and failures."""

from __future__ import annotations

from orchestrator.engine.stage import Stage
from orchestrator.output.views import View, is_news, result_text, stderr_console
from orchestrator.study.trial import TrialState


class PlainView(View):
    """One line for every evaluation and every change of state, to stderr."""

    def __init__(self) -> None:
        self.console = stderr_console()
        self._shown: dict[tuple[str, int], int] = {}  # the last epoch of each trial that was shown

    def say(self, text: str, urgent: bool = False) -> None:
        self.console.print(text, soft_wrap=True)

    def line(self, text: str) -> None:
        self.say(text)

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        if is_news(self._shown, stage, trial):
            self.line(f"{trial.label} epoch {trial.epochs}/{stage.until_epoch(trial)}: {result_text(stage, trial)}")


class QuietView(PlainView):
    """Only warnings and failures, to stderr; the results are in the study's folder."""

    def __init__(self) -> None:
        super().__init__()
        self._loud, self.console = self.console, stderr_console(quiet=True)

    def say(self, text: str, urgent: bool = False) -> None:
        if urgent:
            self._loud.print(text, soft_wrap=True)
