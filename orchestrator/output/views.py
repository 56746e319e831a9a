"""What a person, or a program, is shown while a study runs: the contract of a view, the views by name, common texts."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console

from orchestrator.engine.stage import Stage
from orchestrator.engine.watcher import Watcher
from orchestrator.study.plan import Plan
from orchestrator.study.ranking import ranked
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState
from trainer.api import ConfigError, Problem

# A new one is a class with `View`'s methods, made without arguments, and a line here.
VIEWS: Mapping[str, str] = {
    "live": "orchestrator.output.live:LiveView",
    "plain": "orchestrator.output.plain:PlainView",
    "quiet": "orchestrator.output.plain:QuietView",
    "json": "orchestrator.output.json_lines:JsonView",
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


def is_news(shown: dict[tuple[str, int], int], stage: Stage, trial: TrialState) -> bool:
    """Whether a trial has an evaluation that was not shown yet; then it is marked in `shown` as shown."""
    key = (stage.kind, trial.number)
    if trial.status != "running" or shown.get(key, 0) >= trial.epochs or trial.origin is not None:
        return False
    shown[key] = trial.epochs
    return True


def summary_line(plan: Plan, state: StudyState, *more: str) -> str:
    """`5 of 8 trials: 3 completed, 2 pruned; best trial 4: BLEU 41.2`."""
    counts = Counter(trial.status for trial in state.in_order())
    words = ", ".join(f"{n} {status}" for status, n in counts.items()) or "none yet"
    parts = [f"{len(state.trials)} of {max(plan.n_trials, len(state.trials))} trials: {words}"]
    leaders = ranked(state, plan.metric)
    if leaders:
        best = leaders[0]
        parts.append(f"best trial {best.trial_id}: {plan.metric.label} {best.result:.4g}")
    return "; ".join([*parts, *filter(None, more)])


def result_text(stage: Stage, trial: TrialState) -> str:
    """The trial's last value, and its loss; nothing before the first evaluation."""
    if trial.value is None:
        return ""
    metric = stage.plan.metric
    loss = f", loss {trial.loss:.4g}" if trial.loss is not None and metric.name != "loss" else ""
    return f"{metric.label} {trial.value:.4g}{loss}"
