"""Early stopping: two rules on the losses of the evaluations."""

from __future__ import annotations

import math
from typing import Any

from trainer.config.settings import EarlyStoppingSettings


class EarlyStopping:
    """Counts evaluations without improvement, and successive ones that overfit.

    An improvement is a fall by more than `min_delta`. The gap is train_loss − val_loss.
    """

    def __init__(self, settings: EarlyStoppingSettings) -> None:
        self.settings = settings
        self.best = math.inf
        self.stale = 0
        self.overfitting = 0

    def update(self, train_loss: float, val_loss: float) -> str:
        """Takes one evaluation; returns why to stop, or an empty string."""
        settings = self.settings
        if val_loss < self.best - settings.min_delta:
            self.best, self.stale = val_loss, 0
        else:
            self.stale += 1
        overfits = train_loss - val_loss < -settings.overfitting_gap_threshold
        self.overfitting = self.overfitting + 1 if overfits else 0
        if not settings.enabled:
            return ""
        if self.stale >= settings.patience:
            return f"validation loss has not fallen by more than {settings.min_delta:g} for {self.stale} evaluations"
        if settings.track_overfitting and self.overfitting >= settings.overfitting_patience:
            gap = settings.overfitting_gap_threshold
            return f"training loss was more than {gap:g} below validation loss for {self.overfitting} evaluations"
        return ""

    def new_rung(self) -> None:
        """Resets the counters: losses on another budget are not comparable."""
        self.best, self.stale, self.overfitting = math.inf, 0, 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "stale": self.stale, "overfitting": self.overfitting}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.stale, self.overfitting = state["best"], state["stale"], state["overfitting"]
