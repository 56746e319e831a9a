"""The live table of a study: who trains what where, how well, how fast, and how long it will take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.engine.stage import Stage
from orchestrator.output.plain import PlainView
from orchestrator.output.views import summary_line
from orchestrator.slots.slot import Beat, Slot
from orchestrator.study.plan import Plan
from orchestrator.study.ranking import best_value
from orchestrator.study.state import StudyState
from orchestrator.study.text import duration
from orchestrator.study.trial import PAUSED, RUNNING, TrialState

_REDRAW_SECONDS = 0.25
_MISSING = "–"


@dataclass
class _Place:
    """Where a slot is: its last beat, and when and at which step its epoch was first seen."""

    beat: Beat
    since: float
    first_step: int


class LiveView(PlainView):
    """The plain lines scrolling by above a table of the slots and a line about the whole study."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[str, _Place] = {}
        self._paces: dict[tuple[str, int, int], float] = {}  # seconds an epoch, by stage, trial and rung
        self._trained: dict[tuple[str, int], tuple[int, float]] = {}  # epochs and seconds when last seen
        self._started, self._drawn = time.monotonic(), 0.0
        self._live = Live(console=self.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        super().changed(stage, trial, final)
        epochs, seconds = self._trained.get((stage.kind, trial.number), (0, 0.0))
        if trial.epochs > epochs:
            pace = (trial.seconds - seconds) / (trial.epochs - epochs)
            self._paces[stage.kind, trial.number, trial.rung] = pace
            self._trained[stage.kind, trial.number] = (trial.epochs, trial.seconds)

    def beat(self, stage: Stage, slot: Slot, beat: Beat) -> None:
        place = self._places.get(slot.name)
        if place is None or (place.beat.number, place.beat.epoch) != (beat.number, beat.epoch):
            self._places[slot.name] = _Place(beat, time.monotonic(), beat.step)
        else:
            place.beat = beat
        self.tick(stage)

    def tick(self, stage: Stage) -> None:
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_SECONDS:
            self._drawn = now
            self._live.update(Group(self.table(stage), Text(self.footer(stage))))

    def table(self, stage: Stage) -> Table:
        """A row for each slot that was heard of."""
        metric = stage.plan.metric.label
        # Narrow enough for 80 columns.
        heads = (
            "slot",
            "trial",
            "rung",
            "epoch",
            metric,
            f"best\n{metric}",
            "s per\nepoch",
            "time\nleft",
            "budget\nused",
        )
        table = Table(box=None, padding=(0, 1))
        for column, head in enumerate(heads):
            table.add_column(Text(head), justify="left" if column < 2 else "right", no_wrap=True)
        for name, place in sorted(self._places.items()):
            trial = stage.state.trials.get(place.beat.number)
            idle = trial is None or trial.status != RUNNING
            cells = ["idle", *[_MISSING] * 7] if idle or trial is None else self._cells(stage, trial, place)
            table.add_row(*(Text(cell) for cell in (name, *cells)))
        return table

    def _cells(self, stage: Stage, trial: TrialState, place: _Place) -> list[str]:
        beat = place.beat
        rungs, until = stage.rungs, stage.until_epoch(trial)
        position = beat.epoch - 1 + (beat.step / beat.steps if beat.steps else 0.0)
        pace = self._pace(stage, trial, place)
        best = best_value(trial, stage.plan.metric)
        return [
            trial.label,
            f"{trial.rung}/{len(rungs)}",
            f"{position:.1f}/{until}",
            _MISSING if trial.value is None else f"{trial.value:.4g}",
            _MISSING if best is None else f"{best:.4g}",
            _MISSING if pace is None else f"{pace:.1f}",
            _MISSING if pace is None else duration(max(0.0, until - position) * pace),
            f"{min(1.0, position / rungs[-1].epochs):.0%}",
        ]

    def _pace(self, stage: Stage, trial: TrialState, place: _Place) -> float | None:
        """Seconds an epoch on this rung: of the trial's last one there, else from the steps of this one."""
        known = self._paces.get((stage.kind, trial.number, trial.rung))
        steps = place.beat.step - place.first_step
        if known is not None or steps < 1:
            return known
        return (time.monotonic() - place.since) / steps * place.beat.steps

    def footer(self, stage: Stage) -> str:
        """The study in a line: its trials, the best, time left, and what is spent of its limits."""
        spent = spent_words(stage.plan, stage.state, time.monotonic() - self._started)
        return summary_line(stage.plan, stage.state, left_words(stage), spent)


def spent_words(plan: Plan, state: StudyState, seconds: float) -> str:
    """`4 min of 2.0 h, 0.13 of 0.5 slot-hours`: study time and, where they are limited, what of it is allowed."""
    limits, elapsed = plan.limits, state.seconds_before + seconds
    words = duration(elapsed)
    if limits.timeout_seconds is not None:
        words += f" of {duration(limits.timeout_seconds)}"
    if limits.max_gpu_hours is not None:
        words += f", {state.slot_seconds() / 3600:.2g} of {limits.max_gpu_hours:g} slot-hours"
    return f"{words} spent"


def left_words(stage: Stage) -> str:
    """Time left, from the epochs that this study has trained so far; nothing before the first."""
    trained = [t for t in stage.state.in_order() if t.origin is None and t.epochs]
    done = sum(t.epochs for t in trained)
    if not done:
        return ""
    final = [t for t in trained if t.is_final]
    usual = sum(t.epochs for t in final) / len(final) if final else stage.plan.top.epochs
    waiting = max(0, stage.plan.n_trials - len(stage.state.trials)) if stage.kind == "search" else 0
    running = sum(stage.until_epoch(t) - t.epochs for t in stage.state.with_status(RUNNING, PAUSED))
    left = (waiting * usual + running) * sum(t.seconds for t in trained) / done / stage.plan.places.workers
    return f"about {duration(left)} left"
