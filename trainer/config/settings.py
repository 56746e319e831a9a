"""The typed configuration: the sections that every task shares.

A task's own configuration (`trainer/tasks/<name>/config.py`) is one concrete class made of these sections.
Everything is frozen, unknown keys are forbidden, and each field carries its meaning. `scale="log"` and
`search=(low, high)` say how a number is searched where its own bounds do not; `role` says what the key is to a study
and to a run (`section.py`).
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from trainer.config.data_settings import LARGEST_PX, SMALLEST_PX, DataSettings, Pair
from trainer.config.logging_settings import LoggingSettings
from trainer.config.section import AS_TUPLE, AbsolutePath, Section, setting

Sizes = Annotated[tuple[Annotated[tuple[int, int], AS_TUPLE], ...], AS_TUPLE]


_TAKES: dict[str, frozenset[str]] = {
    "adam": frozenset({"betas", "eps"}),
    "adamw": frozenset({"betas", "eps"}),
    "sgd": frozenset({"momentum", "nesterov"}),
    "rmsprop": frozenset({"momentum", "eps", "alpha", "centered"}),
}


class OptimizerSettings(Section):
    type: Literal["adam", "adamw", "sgd", "rmsprop"] = setting("adam", "the optimizer")
    lr: float = setting(1e-4, "learning rate", scale="log", search=(1e-8, 10.0), gt=0.0)
    encoder_lr: float | None = setting(
        None,
        "the pretrained part's own rate; null = the same for all",
        scale="log",
        search=(1e-8, 10.0),
        gt=0.0,
    )
    weight_decay: float | None = setting(None, "null = PyTorch's default", search=(0.0, 1.0), ge=0.0)
    betas: Pair | None = setting(None, "adam and adamw; null = PyTorch's default")
    eps: float | None = setting(None, "adam, adamw, rmsprop; null = PyTorch's default", ge=0.0)
    momentum: float | None = setting(None, "sgd and rmsprop; null = PyTorch's default", ge=0.0, lt=1.0)
    nesterov: bool | None = setting(None, "sgd; null = PyTorch's default")
    alpha: float | None = setting(None, "rmsprop; null = PyTorch's default", ge=0.0, lt=1.0)
    centered: bool | None = setting(None, "rmsprop; null = PyTorch's default")
    decay_norm_and_bias: bool = setting(
        True, "weight decay also on biases and the weights of normalisation: all parameters of one dimension"
    )

    @model_validator(mode="after")
    def _only_its_own_arguments(self) -> Self:
        own = {"betas", "eps", "momentum", "nesterov", "alpha", "centered"}
        strange = [name for name in sorted(own - _TAKES[self.type]) if getattr(self, name) is not None]
        if strange:
            raise ValueError(f"{self.type} does not take {', '.join(strange)}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @field_validator("betas")
    @classmethod
    def _betas_below_one(cls, betas: tuple[float, float] | None) -> tuple[float, float] | None:
        if betas is not None and not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError("both betas must be at least 0 and below 1")
        return betas

    def arguments(self) -> dict[str, Any]:
        """Arguments of the optimizer's constructor beside the rate: only those that are set."""
        names = _TAKES[self.type] | {"weight_decay"}
        return {name: getattr(self, name) for name in sorted(names) if getattr(self, name) is not None}


ScheduleName = Literal["reduce_on_plateau", "step", "cosine", "one_cycle", "constant"]


def schedule_name(default: ScheduleName) -> Any:
    """The setting for the schedule's name, with a task's own default."""
    return setting(default, "how the learning rate changes over `training.schedule_epochs`")


class SchedulerSettings(Section):
    type: ScheduleName = schedule_name("reduce_on_plateau")
    factor: float = setting(0.5, "reduce_on_plateau: the rate is multiplied by it", gt=0.0, lt=1.0)
    patience: int = setting(2, "reduce_on_plateau: evaluations without a lower validation loss", ge=0)
    min_lr: float = setting(1e-7, "reduce_on_plateau: never below it", ge=0.0)
    step_size: int = setting(10, "step: epochs between two drops", ge=1)
    gamma: float = setting(0.1, "step: the rate is multiplied by it", gt=0.0, le=1.0)
    warmup_steps: int = setting(0, "optimizer steps of linear warm-up from 0 (not with one_cycle)", ge=0)
    warmup_fraction: float | None = setting(
        None, "warm-up as a share of the schedule, in place of warmup_steps", ge=0.0, lt=1.0
    )
    pct_start: float = setting(0.3, "one_cycle: share of the schedule with a rising rate", gt=0.0, lt=1.0)
    div_factor: float = setting(25.0, "one_cycle: the first rate is lr / div_factor", ge=1.0)
    final_div_factor: float = setting(1e4, "one_cycle: the last rate is the first / final_div_factor", ge=1.0)
    anneal_strategy: Literal["cos", "linear"] = setting("cos", "one_cycle: the shape of the course")
    three_phase: bool = setting(False, "one_cycle: down to the first rate as long as up from it, only then to the last")
    cycle_momentum: bool | None = setting(
        None,
        "one_cycle: the momentum (adam, adamw: the first beta) falls while the rate rises, and back, whatever "
        "training.optimizer says of it; null = yes, but in what was begun before there was this key",
    )
    base_momentum: float = setting(0.85, "one_cycle: the momentum at the highest rate", ge=0.0, lt=1.0)
    max_momentum: float = setting(0.95, "one_cycle: the momentum at the first and the last rate", ge=0.0, lt=1.0)

    @property
    def cycles(self) -> bool:
        return self.type == "one_cycle" and self.cycle_momentum is not False


class CriterionSettings(Section):
    """A loss by name; a task narrows `type` to those that it can be trained with."""

    ROLES = frozenset({"loss", "use"})

    type: Literal["cross_entropy", "bce", "bce_with_logits", "mse", "l1", "smooth_l1"] = setting(
        "cross_entropy", "the loss", role="loss"
    )
    reduction: Literal["mean", "sum"] = setting(
        "mean", "gradients of a batch's mean loss, or of its sum; reported losses are means in both cases"
    )
    label_smoothing: float = setting(0.0, "cross_entropy: share of probability spread over all classes", ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _smoothing_is_of_classes(self) -> Self:
        if self.label_smoothing and self.type != "cross_entropy":
            raise ValueError(f"{self.type} does not take label_smoothing")
        return self


class EarlyStoppingSettings(Section):
    enabled: bool = setting(True, "stop a run whose validation loss no longer falls")
    in_search: bool = setting(False, "also inside a budgeted search")
    patience: int = setting(5, "evaluations without the loss falling by more than min_delta", ge=1)
    min_delta: float = setting(1e-4, "a fall must be more than this to count", ge=0.0)
    track_overfitting: bool = setting(True, "also watch the gap train_loss − val_loss")
    overfitting_gap_threshold: float = setting(0.5, "a gap below minus this counts as overfitting", ge=0.0)
    overfitting_patience: int = setting(3, "so many such evaluations in a row stop the run", ge=1)


class TrainingSettings(Section):
    ROLES = frozenset({"use"})
    epochs: int = setting(50, "at most; early stopping may end sooner", role=("budget", "resume"), ge=1, le=1_000_000)
    schedule_epochs: int | None = setting(None, "span of every schedule; null = epochs", role="study", ge=1)
    max_iter: int | None = setting(None, "stop after so many optimizer steps", role=("study", "resume"), ge=1)
    batch_size: int = setting(32, "samples per batch", scale="log", search=(1, 4096), ge=1)
    val_batch_size: int | None = setting(None, "images per validation batch; null = batch_size", ge=1)
    accumulate_grad_batches: int = setting(1, "batches per optimizer step", search=(1, 256), ge=1)
    grad_clip: float = setting(5.0, "largest global gradient norm; 0 turns clipping off", search=(0.0, 1e3), ge=0.0)
    precision: Literal["auto", "bf16", "fp16", "fp32"] = setting(
        "auto", "auto is bf16 where the GPU has it, else fp16 with a gradient scaler; fp32 on a CPU"
    )
    deterministic: bool = setting(True, "cuDNN deterministic, its autotuner off")
    subset_size: int | None = setting(None, "so many training images, drawn under subset_seed", role="budget", ge=1)
    subset_seed: int = setting(42, "a smaller subset is a prefix of a larger one", role="study", ge=0)
    overfit: bool = setting(
        False,
        "the first subset_size (else 10) images, no augmentation, no shuffling, validated on the same",
        role="study",
    )
    resize_schedule: Sizes | None = setting(
        None,
        "progressive resizing: a list of [epoch, size]; from that epoch on, that size; starts at epoch 1",
        role="study",
    )
    compile: bool = setting(False, "torch.compile; the first steps take longer")
    ema_decay: float | None = setting(
        None, "moving average of the weights, evaluated in their place", search=(0.9, 0.99999), gt=0.0, lt=1.0
    )
    eval_interval: int = setting(1, "validate every so many epochs, and on the last", role="study", ge=1)
    optimizer: OptimizerSettings = OptimizerSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()

    @field_validator("resize_schedule")
    @classmethod
    def _sizes_in_order(cls, sizes: tuple[tuple[int, int], ...] | None) -> tuple[tuple[int, int], ...] | None:
        if sizes is None:
            return None
        epochs = [epoch for epoch, _ in sizes]
        if not sizes or epochs[0] != 1:
            raise ValueError("the first entry must start at epoch 1")
        if any(later <= earlier for earlier, later in itertools.pairwise(epochs)):
            raise ValueError("epochs must rise from entry to entry")
        if any(not SMALLEST_PX <= size <= LARGEST_PX for _, size in sizes):
            raise ValueError(f"every size must lie between {SMALLEST_PX} and {LARGEST_PX}")
        return sizes


class CheckpointSettings(Section):
    ROLES = frozenset({"place", "resume", "use"})
    dir: AbsolutePath = setting("checkpoints", "folder for checkpoints and metrics.jsonl", validate_default=True)
    save: bool = setting(True, "write checkpoints at all")
    every_n_epochs: int | None = setting(None, "also keep checkpoint_epoch_{N}.pth so often", ge=1)
    every_n_steps: int | None = setting(None, "also write last.pth every so many steps", ge=1)
    resume: AbsolutePath | None = setting(None, "continue from this checkpoint")
    weights: AbsolutePath | None = setting(
        None, "start from the weights of this checkpoint; optimizer, schedule and epochs begin anew"
    )


class RunConfig(Section):
    """What every task's configuration has. A task narrows `task` and replaces sections by its own."""

    task: str = setting(
        ..., "what is trained: a task's name, or package.module:object for one of your own", role="study"
    )
    experiment_name: str = setting(
        "experiment", "names the run in logs", role=("identity", "resume", "use"), min_length=1
    )
    seed: int = setting(
        42, "weights, shuffling, splits, dropout, augmentation", role=("identity", "study", "use"), ge=0, lt=2**63
    )
    device: str = setting(
        "auto", "auto, cpu, cuda or cuda:N", role=("study", "resume", "use"), pattern=r"^(auto|cpu|cuda(:\d+)?)$"
    )
    data: DataSettings
    training: TrainingSettings = TrainingSettings()
    # Made when the configuration is: their folders depend on the current directory.
    checkpoint: CheckpointSettings = Field(default_factory=CheckpointSettings)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)

    @property
    def split_seed(self) -> int:
        return self.seed if self.data.split_seed is None else self.data.split_seed

    @property
    def schedule_epochs(self) -> int:
        return self.training.schedule_epochs or self.training.epochs

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Every size that images are trained at, in pixels a side."""
        return tuple(dict.fromkeys((self.data.image_size, *(size for _, size in self.training.resize_schedule or ()))))

    @property
    def logging_dir(self) -> Path:
        return self.logging.dir or self.checkpoint.dir

    def plain(self) -> dict[str, Any]:
        """The configuration as plain data: what YAML and a checkpoint hold."""
        return self.model_dump(mode="json")
