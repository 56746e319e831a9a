"""One run in memory: seed, device, task, data, model, optimizer, and the state to continue from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from trainer.checkpoints.files import FORMAT, check_extras, fill_model
from trainer.config.registry import find_task, load
from trainer.config.settings import RunConfig
from trainer.data.loaders import Loaders
from trainer.errors import CheckpointError
from trainer.learning import randomness
from trainer.learning.batch_norm import statistics_kept
from trainer.learning.ema import WeightAverage
from trainer.learning.optim import Schedule, build_optimizer, warmup_part
from trainer.learning.precision import Precision, decide_device, decide_precision
from trainer.learning.stopping import EarlyStopping
from trainer.outcome import Evaluation
from trainer.run.continuation import check_same, checked_identity, data_places, same_conditions
from trainer.store.arrays import OnProgress
from trainer.task.batches import Batch
from trainer.task.checks import given
from trainer.task.data_identity import DataIdentity
from trainer.task.protocols import Metric, Task

_NO_CONTEXT = nullcontext()


@dataclass
class Progress:
    """How far a run is: plain numbers, all of them in the checkpoint.

    `batches` and `losses` (the summed loss of each optimizer step) belong to the epoch that is running.
    `micro_batch` and `val_micro_batch` are samples at a time where memory is short, 0 for whole batches;
    `recalled_px` is the image size for which the results of other runs were looked up.
    """

    epoch: int = 0
    step: int = 0
    batches: int = 0
    weight: float = 0.0
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    seconds_at_evaluation: float = 0.0
    rung: int = 1
    best: float = math.nan
    best_epoch: int = 0
    micro_batch: int = 0
    val_micro_batch: int = 0
    recalled_px: int = 0
    stop_reason: str = ""


@dataclass
class Run:
    """One run in memory: what the loop works on."""

    config: RunConfig
    task: Task
    metric: Metric
    device: torch.device
    precision: Precision
    model: nn.Module
    parameters: list[nn.Parameter]
    optimizer: Optimizer
    scaler: GradScaler
    schedule: Schedule
    stopping: EarlyStopping
    loaders: Loaders
    identity: DataIdentity
    steps_per_epoch: int
    average: WeightAverage | None = None
    autocast: AbstractContextManager[None] = field(init=False)  # made once: it is entered at every batch
    scaled: bool = field(init=False)  # whether losses are scaled, as fp16 needs it
    moves_batches: bool = field(init=False)
    progress: Progress = field(default_factory=Progress)
    history: list[Evaluation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unreported: list[Evaluation] = field(default_factory=list)  # until their checkpoint's file is whole
    waited: float = 0.0  # seconds for checkpoints since the last report

    def __post_init__(self) -> None:
        self.autocast, self.scaled = self.precision.autocast(), self.scaler.is_enabled()
        self._share, self._share_weight = torch.ones((), device=self.device), 1.0
        self.moves_batches = self.device.type != "cpu"

    def share_of(self, weight: float) -> Tensor:
        """1 / `weight` as a tensor on the device, the same one at every step."""
        if weight != self._share_weight:
            self._share.fill_(1.0 / weight)
            self._share_weight = weight
        return self._share

    def batch_statistics(self, batch: Batch, place: int) -> AbstractContextManager[None]:
        """A context in which BatchNorm takes a batch, at this `place` in its group, or a part of one, for what it is:
        its own statistics, or for a single sample the running ones."""
        if self.progress.micro_batch:
            single = len(self.task.split(batch, 1)) == 1
        else:
            single = self.loaders.batches.rows_in(self.progress.batches + place) == 1
        return statistics_kept(self.model) if single else _NO_CONTEXT

    def mean_loss(self) -> float:
        """The training loss of the running epoch, as far as it has been read."""
        return math.fsum(self.progress.losses) / self.progress.weight

    def rate(self) -> float:
        """The learning rate of the first group of parameters."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self) -> dict[str, Any]:
        """Everything that training continues from: tensors and plain data only.

        `value_range`, where the data have one, is for the model's use on other images.
        """
        found = self.loaders.value_range
        return {
            **({"value_range": list(found)} if found is not None else {}),
            "format": FORMAT,
            "task": self.config.task,
            "config": self.config.plain(),
            "model": self.model.state_dict(),
            "average": self.average.for_evaluation().state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "schedule": self.schedule.state_dict(),
            "stopping": self.stopping.state_dict(),
            "progress": asdict(self.progress),
            "history": [asdict(evaluation) for evaluation in self.history],
            "random": randomness.capture(),
            "extras": self.task.extras(),
            "data": {
                "digest": self.identity.digest,
                "images": self.identity.images,
                "train": torch.from_numpy(self.identity.train),
                "val": torch.from_numpy(self.identity.val),
            },
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continues from a checkpoint's state, random generators last."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.schedule.load_state_dict(state["schedule"])
        self.stopping.load_state_dict(state["stopping"])
        self.progress = Progress(**state["progress"])
        self.history = [Evaluation(**evaluation) for evaluation in state["history"]]
        randomness.restore(state["random"])

    def enter_rung(self, rung: int, comparable: bool) -> None:
        """Resets the best value on another rung, and where losses are not `comparable` the counters, too."""
        if rung == self.progress.rung:
            return
        self.progress.rung = rung
        self.progress.best = math.nan
        self.progress.stop_reason = ""
        if not comparable:
            self.schedule.new_rung()
            self.stopping.new_rung()

    def climb(self, config: RunConfig, rung: int) -> None:
        """Continues under a higher rung's configuration with model, optimizer and counters in memory."""
        check_same(self.config.plain(), config, climbs=True)
        comparable = same_conditions(self.config.plain(), config)
        self.config = config
        if not comparable:
            random = randomness.capture()
            self.loaders.close()
            self.task = task_for(config, self.task.extras())
            before = self.loaders
            self.loaders = Loaders(
                config, self.task, self.device, self.progress.epoch + 1, before.say, before.on_progress
            )
            self.loaders.use(self.model)
            self.identity = checked_identity(self.loaders.rows, config, None, False, before.say)
            self.steps_per_epoch = steps_of(self.loaders, config)
            settings = config.training.scheduler
            self.schedule.warmup = warmup_part(settings, self.steps_per_epoch, config.schedule_epochs)
            self.schedule.steps_per_epoch = self.steps_per_epoch
            randomness.restore(random)
        self.enter_rung(rung, comparable)

    def close(self) -> None:
        """Ends the loading processes."""
        self.loaders.close()

    def for_evaluation(self) -> nn.Module:
        """The model that is judged: the averaged one where there is one."""
        return self.model.eval() if self.average is None else self.average.for_evaluation()


def task_for(config: RunConfig, extras: Mapping[str, Any] | None = None) -> Task:
    """The task's object."""
    task: Task = load(find_task(config.task).task)(config, extras)
    return task


def open_run(
    config: RunConfig,
    state: Mapping[str, Any] | None,
    rung: int,
    say: Callable[[str], None],
    free: tuple[str, ...] = (),
    progress: OnProgress | None = None,
    weights: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Run:
    """A run from its first epoch, or from a checkpoint's state.

    `free` are further keys that may differ from the checkpoint's configuration, and with `force` the data may, too;
    `progress` is called while caches are built. `weights` is the state of another run's checkpoint, of which a first
    epoch takes the model alone.
    """
    comparable = state is None or same_conditions(state["config"], config)
    if state is not None:
        check_same(state["config"], config, rung > state["progress"]["rung"], (*free, *data_places(config.task)))
    device = decide_device(config.device)
    precision = decide_precision(config.training.precision, device)
    say(f"device {device}, precision {precision}")
    randomness.seed_all(config.seed, config.training.deterministic)
    known = state or weights
    task = task_for(config, known["extras"] if known else None)
    loaders = Loaders(config, task, device, state["progress"]["epoch"] + 1 if state else 1, say, progress)
    identity = checked_identity(loaders.rows, config, state, force, say)
    model = given(config.task, "build_model", task.build_model(weights=known is None), nn.Module).to(device)
    if state is None and weights is not None:
        _start_from(weights, model, config)
    parts, training = task.parts(model), config.training
    optimizer = build_optimizer(training.optimizer, parts)
    steps = steps_of(loaders, config)
    warmup = warmup_part(training.scheduler, steps, config.schedule_epochs)
    run = Run(
        config=config,
        task=task,
        metric=load(find_task(config.task).files).metric(config),
        device=device,
        precision=precision,
        model=model,
        parameters=[*parts.main, *parts.pretrained],
        optimizer=optimizer,
        scaler=precision.scaler(),
        schedule=Schedule(training.scheduler, optimizer, config.schedule_epochs, warmup, steps),
        stopping=EarlyStopping(training.early_stopping),
        loaders=loaders,
        identity=identity,
        steps_per_epoch=steps,
        average=WeightAverage(model, training.ema_decay) if training.ema_decay is not None else None,
    )
    if training.compile:
        model.compile()  # in place: the names in the checkpoint stay the same
    if state is not None:
        run.load_state(state)
    loaders.use(model)  # only now does it have its final weights
    if state is None:
        check_extras(task.extras())
    run.enter_rung(rung, comparable)
    return run


def _start_from(weights: Mapping[str, Any], model: nn.Module, config: RunConfig) -> None:
    """Gives a model the weights of another run's checkpoint; `CheckpointError` where they are another model's."""
    if weights["task"] != config.task:
        what = f"a model of {weights['task']}, and this run is of {config.task}"
        raise CheckpointError(f"checkpoint.weights holds {what}")
    fill_model(model, weights, "checkpoint.weights holds another model")


def steps_of(loaders: Loaders, config: RunConfig) -> int:
    """Optimizer steps of an epoch; the last may have fewer batches."""
    return -(-len(loaders.batches) // config.training.accumulate_grad_batches)
