"""What a run logs, and where to."""

from __future__ import annotations

from pathlib import Path

from trainer.config.section import AbsolutePath, Section, setting


class WandbSettings(Section):
    project: str = setting("rungwise", "project that runs are logged to", min_length=1)
    entity: str | None = setting(None, "user or team; null = the account's own")


class LoggingSettings(Section):
    ROLES = frozenset({"place", "resume", "use"})
    every_n_steps: int = setting(
        50, "optimizer steps between two lines with the running loss, which trackers get too", ge=1
    )
    save_metrics: bool = setting(True, "one JSON line per evaluation in metrics.jsonl")
    dir: AbsolutePath | None = setting(None, "folder for metrics.jsonl and samples/; null = checkpoint.dir")
    tensorboard: bool = setting(False, "also write TensorBoard scalars (the extra `tensorboard`)")
    tensorboard_dir: AbsolutePath = setting(Path("runs"), "folder for TensorBoard", validate_default=True)
    use_wandb: bool = setting(False, "also log to Weights & Biases (the extra `wandb`)")
    wandb: WandbSettings = WandbSettings()
