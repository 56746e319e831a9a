"""Watchers: objects that are told of every event of a study, such as the terminal and the files in its folder."""

from __future__ import annotations

from orchestrator.engine.stage import Stage
from orchestrator.slots.slot import Beat, Slot
from orchestrator.study.trial import TrialState


class Watcher:
    """Is called with every event and decides nothing. A subclass overrides the methods for the events that it needs."""

    def line(self, text: str) -> None:
        """A line for the log."""

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        """A trial has a new evaluation or a new status; `final`: it has ended."""

    def beat(self, stage: Stage, slot: Slot, beat: Beat) -> None:
        """A slot has trained more steps."""

    def tick(self, stage: Stage) -> None:
        """Some time has passed."""


class Watchers(Watcher):
    """Several watchers as one."""

    def __init__(self, *watchers: Watcher) -> None:
        self.watchers = list(watchers)

    def add(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)

    def line(self, text: str) -> None:
        for watcher in self.watchers:
            watcher.line(text)

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        for watcher in self.watchers:
            watcher.changed(stage, trial, final)

    def beat(self, stage: Stage, slot: Slot, beat: Beat) -> None:
        for watcher in self.watchers:
            watcher.beat(stage, slot, beat)

    def tick(self, stage: Stage) -> None:
        for watcher in self.watchers:
            watcher.tick(stage)
