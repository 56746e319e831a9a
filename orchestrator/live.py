"""What a person sees while a study runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.plan import Plan
from orchestrator.records import duration
from orchestrator.slots.slot import Beat, Slot
from orchestrator.stage import Stage
from orchestrator.state import StudyState, TrialState


class PlainView:
    """One line for every evaluation and every change of state, to stderr."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self.console, self.plan = console, plan
        self._said: dict[tuple[str, int], int] = {}  # the last epoch of each trial that had its line

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        return None

    def line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        key = (stage.noun, trial.number)
        if trial.status == "running" and self._said.get(key, 0) < trial.epochs and trial.origin is None:
            self._said[key] = trial.epochs
            self.line(f"{stage.label(trial)} epoch {trial.epochs}/{stage.epochs(trial)}: {_result(stage, trial)}")

    def beat(self, stage: Stage, slot: Slot, beat: Beat) -> None:
        """Steps are too many for lines."""

    def tick(self, stage: Stage) -> None:
        """Lines come when something happens."""


class LiveView(PlainView):
    """The same lines scrolling by above a table of the slots."""

    def __init__(self, console: Console, plan: Plan) -> None:
        super().__init__(console, plan)
        self._beats: dict[str, Beat] = {}
        self._started = time.monotonic()
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._live.stop()

    def beat(self, stage: Stage, slot: Slot, beat: Beat) -> None:
        self._beats[slot.name] = beat
        self.tick(stage)

    def tick(self, stage: Stage) -> None:
        table = Table("slot", "trial", "epoch", "step", stage.plan.metric.label, box=None, padding=(0, 2))
        for name, beat in sorted(self._beats.items()):
            trial = stage.state.trials.get(beat.number)
            if trial is not None and not trial.is_final:
                epochs = f"{beat.epoch}/{stage.epochs(trial)}"
                row = (name, stage.label(trial), epochs, f"{beat.step}/{beat.steps}", _result(stage, trial) or "–")
                table.add_row(*row)
        self._live.update(Group(table, Text(summary_line(stage.plan, stage.state, self._left(stage)))))

    def _left(self, stage: Stage) -> str:
        """Time left, from the epochs that this study has trained so far."""
        trained = [t for t in stage.state.in_order() if t.origin is None and t.epochs]
        done = sum(t.epochs for t in trained)
        if not done:
            return ""
        final = [t for t in trained if t.is_final]
        usual = sum(t.epochs for t in final) / len(final) if final else stage.plan.top.epochs
        waiting = max(0, stage.plan.n_trials - len(stage.state.trials)) if stage.noun == "trial" else 0
        running = sum(stage.epochs(t) - t.epochs for t in stage.state.with_status("running", "paused"))
        left = (waiting * usual + running) * sum(t.seconds for t in trained) / done / stage.plan.places.workers
        return f"about {duration(left)} left"


def open_view(console: Console, plan: Plan) -> PlainView:
    """The live table where someone looks on, else plain lines."""
    return LiveView(console, plan) if console.is_terminal else PlainView(console, plan)


def summary_line(plan: Plan, state: StudyState, left: str = "") -> str:
    """`5 of 8 trials: 3 completed, 2 pruned; best trial 4: BLEU 41.2`."""
    counts = Counter(trial.status for trial in state.in_order())
    words = ", ".join(f"{n} {status}" for status, n in counts.items()) or "none yet"
    parts = [f"{len(state.trials)} of {max(plan.n_trials, len(state.trials))} trials: {words}"]
    ranked = state.ranked(plan.metric.direction == "maximize")
    if ranked:
        best = ranked[0]
        parts.append(f"best trial {best.trial_id}: {plan.metric.label} {best.results[best.reached]:.4g}")
    return "; ".join([*parts, *([left] if left else [])])


def _result(stage: Stage, trial: TrialState) -> str:
    if trial.value is None:
        return ""
    metric = stage.plan.metric
    loss = f", loss {trial.loss:.4g}" if trial.loss is not None and metric.name != "loss" else ""
    return f"{metric.label} {trial.value:.4g}{loss}"
