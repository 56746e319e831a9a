"""Views: what a person or a program is shown while a study runs. Their contract, their table, and shared texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pkgutil import resolve_name
from types import TracebackType
from typing import Self

from rich.console import Console

from orchestrator.engine.stage import Stage
from orchestrator.engine.watcher import Watcher
from orchestrator.study.plan import Plan
from orchestrator.study.ranking import ranked
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState
from trainer.api import ConfigError, Problem

# To add one: a subclass of `View` whose constructor takes no arguments, and a line here.
VIEWS: Mapping[str, str] = {
    "live": "orchestrator.output.live:LiveView",
    "plain": "orchestrator.output.plain:PlainView",
    "quiet": "orchestrator.output.plain:QuietView",
    "json": "orchestrator.output.json_lines:JsonView",
}
AUTO = "auto"  # the live table on a terminal, else plain lines


class View(Watcher):
    """A watcher that also shows messages before and after the slots work. `console` is for progress bars."""

    console: Console

    def say(self, text: str, urgent: bool = False) -> None:
        """Shows one line; `urgent` for a warning or a failure, which every view shows."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def make_view(name: str) -> View:
    """A view by its name; `ConfigError` where there is none of that name."""
    if name == AUTO:
        name = "live" if stderr_console().is_terminal else "plain"
    if name not in VIEWS:
        raise ConfigError([Problem("--view", f"must be one of {', '.join((AUTO, *VIEWS))}, not {name!r}")])
    view: View = resolve_name(VIEWS[name])()
    return view


def stderr_console(quiet: bool = False) -> Console:
    """The console for messages: on stderr, so that stdout is free for results; text is never read as markup."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, quiet=quiet)


def is_news(shown: dict[tuple[str, int], int], stage: Stage, trial: TrialState) -> bool:
    """Whether a trial has an evaluation that was not shown before; it is then recorded in `shown`."""
    key = (stage.kind, trial.number)
    if trial.status != "running" or shown.get(key, 0) >= trial.epochs or trial.origin is not None:
        return False
    shown[key] = trial.epochs
    return True


def summary_line(plan: Plan, state: StudyState, *more: str) -> str:
    """`5 of 8 trials: 3 completed, 2 pruned; best trial 4: BLEU 41.2`."""
    counts = Counter(trial.status for trial in state.in_order())
    counted = ", ".join(f"{n} {status}" for status, n in counts.items()) or "none yet"
    parts = [f"{len(state.trials)} of {max(plan.n_trials, len(state.trials))} trials: {counted}"]
    leaders = ranked(state, plan.metric)
    if leaders:
        best = leaders[0]
        parts.append(f"best trial {best.trial_id}: {plan.metric.label} {best.result:.4g}")
    return "; ".join([*parts, *filter(None, more)])


def result_text(stage: Stage, trial: TrialState) -> str:
    """The trial's last value, with its loss; empty before the first evaluation."""
    if trial.value is None:
        return ""
    metric = stage.plan.metric
    loss = f", loss {trial.loss:.4g}" if trial.loss is not None and metric.name != "loss" else ""
    return f"{metric.label} {trial.value:.4g}{loss}"
