"""JSON lines on stdout, for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, TextIO

from orchestrator.engine.stage import Stage
from orchestrator.output.plain import PlainView
from orchestrator.output.views import is_news, stderr_console
from orchestrator.study.trial import TrialState


class JsonView(PlainView):
    """One JSON object a line, to stdout: `said`, `evaluation` and `trial`. A reader that goes away stops no study."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self.console = stderr_console(quiet=True)
        self._stream: TextIO | None = stream or sys.stdout
        self._told: dict[tuple[str, int], tuple[Any, ...]] = {}

    def say(self, text: str, urgent: bool = False) -> None:
        self._write("said", text=text, urgent=urgent)

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        about = {"stage": stage.kind, "trial_id": trial.source_trial or trial.trial_id}
        if trial.source_trial:
            about["seed"] = trial.seed_index
        if is_news(self._shown, stage, trial):
            self._write(
                "evaluation", **about, epoch=trial.epochs, of=stage.until_epoch(trial), rung=trial.rung,
                slot=trial.last.slot if trial.last else "", value=trial.value, loss=trial.loss,
                seconds=round(trial.seconds, 3),
            )  # fmt: skip
        key, now = (stage.kind, trial.number), (trial.status, trial.rung, trial.reason)
        if self._told.get(key) != now:
            self._told[key] = now
            self._write("trial", **about, status=trial.status, rung=trial.rung, value=trial.value, reason=trial.reason)

    def _write(self, event: str, **about: Any) -> None:
        if self._stream is None:
            return
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        try:
            self._stream.write(json.dumps({"event": event, "time": when, **about}) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            self._stream = None
