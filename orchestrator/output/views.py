"""What a person, or a program, is shown while a study runs: the contract, the table of views, and the simple ones."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console

from orchestrator.engine.stage import Stage
from orchestrator.engine.watcher import Watcher
from orchestrator.slots.slot import Beat, Slot
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState, TrialState
from trainer.api import ConfigError, Problem

# A new one is a class with `View`'s methods, made without arguments, and a line here.
VIEWS: Mapping[str, str] = {
    "live": "orchestrator.output.live:LiveView",
    "plain": "orchestrator.output.views:PlainView",
    "quiet": "orchestrator.output.views:QuietView",
    "json": "orchestrator.output.views:JsonView",
}
AUTO = "auto"  # live on a terminal, else plain


class View(Watcher, Protocol):
    """A watcher that also says what happens before and after the slots work. `console` is for bars and the like."""

    console: Console

    def say(self, text: str, urgent: bool = False) -> None:
        """One line; `urgent` where it must not be missed: a warning, a failure."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_view(name: str) -> View:
    """A view by its name; `ConfigError` where there is none of that name."""
    if name == AUTO:
        name = "live" if stderr_console().is_terminal else "plain"
    if name not in VIEWS:
        raise ConfigError([Problem("--view", f"must be one of {', '.join((AUTO, *VIEWS))}, not {name!r}")])
    module, made = VIEWS[name].split(":")
    view: View = getattr(importlib.import_module(module), made)()
    return view


def stderr_console(quiet: bool = False) -> Console:
    """Words go to stderr, so that stdout stays free for results; what comes from a file is never markup."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, quiet=quiet)


class PlainView:
    """One line for every evaluation and every change of state, to stderr."""

    def __init__(self) -> None:
        self.console = stderr_console()
        self._said: dict[tuple[str, int], int] = {}  # the last epoch of each trial that had its line

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
        if is_news(self._said, stage, trial):
            self.line(f"{trial.label} epoch {trial.epochs}/{stage.epochs(trial)}: {result_words(stage, trial)}")

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
        about = {"stage": stage.noun, "trial_id": trial.source_trial or trial.trial_id}
        if trial.source_trial:
            about["seed"] = trial.seed_index
        if is_news(self._said, stage, trial):
            self._write(
                "evaluation", **about, epoch=trial.epochs, of=stage.epochs(trial), rung=trial.rung,
                slot=trial.slots.get(trial.epochs, ""), value=trial.value, loss=trial.loss,
                seconds=round(trial.seconds, 3),
            )  # fmt: skip
        key, now = (stage.noun, trial.number), (trial.status, trial.rung, trial.reason)
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


def is_news(said: dict[tuple[str, int], int], stage: Stage, trial: TrialState) -> bool:
    """Whether a trial has an evaluation that was not told yet; then it is marked in `said` as told."""
    key = (stage.noun, trial.number)
    if trial.status != "running" or said.get(key, 0) >= trial.epochs or trial.origin is not None:
        return False
    said[key] = trial.epochs
    return True


def summary_line(plan: Plan, state: StudyState, *more: str) -> str:
    """`5 of 8 trials: 3 completed, 2 pruned; best trial 4: BLEU 41.2`."""
    counts = Counter(trial.status for trial in state.in_order())
    words = ", ".join(f"{n} {status}" for status, n in counts.items()) or "none yet"
    parts = [f"{len(state.trials)} of {max(plan.n_trials, len(state.trials))} trials: {words}"]
    ranked = state.ranked(plan.metric.direction == "maximize")
    if ranked:
        best = ranked[0]
        parts.append(f"best trial {best.trial_id}: {plan.metric.label} {best.result:.4g}")
    return "; ".join([*parts, *filter(None, more)])


def result_words(stage: Stage, trial: TrialState) -> str:
    """The trial's last value, and its loss; nothing before the first evaluation."""
    if trial.value is None:
        return ""
    metric = stage.plan.metric
    loss = f", loss {trial.loss:.4g}" if trial.loss is not None and metric.name != "loss" else ""
    return f"{metric.label} {trial.value:.4g}{loss}"
