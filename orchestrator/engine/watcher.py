"""What is told while a study runs: the contract of a watcher, and several as one."""

from __future__ import annotations

from typing import Protocol

from orchestrator.engine.stage import Stage
from orchestrator.slots.slot import Beat, Slot
from orchestrator.study.trial import TrialState


class Watcher(Protocol):
    """Told of everything that happens, decides nothing: the terminal, the files of the study folder."""

    def line(self, text: str) -> None: ...
    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None: ...
    def beat(self, stage: Stage, slot: Slot, beat: Beat) -> None: ...
    def tick(self, stage: Stage) -> None: ...


class Watchers:
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
