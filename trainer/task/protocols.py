"""The two protocols of a task, which every folder in `trainer/tasks` fulfils.

`TaskFiles` deals with the data as files, without torch: checks them, counts them, names them.
`Task` is the training half: rows, model, loss, evaluation, predictions. The loop knows only this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from trainer.errors import ConfigError, Problem

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainer.store.arrays import OnProgress
    from trainer.task.batches import Batch, RowSource
    from trainer.task.data_identity import DataIdentity
    from trainer.task.pictures import Census, DataPicture

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Metric:
    """The primary metric of a configuration. `scale` is its largest value where it has one (BLEU 100, mAP 1)."""

    name: str
    label: str
    direction: Direction
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.direction not in ("maximize", "minimize"):
            what = f"the direction of {self.name} must be maximize or minimize, not {self.direction!r}"
            raise ConfigError([Problem("Metric", what)])

    def key(self, value: float) -> float:
        """What to sort values by: the smaller, the better."""
        return -value if self.direction == "maximize" else value

    def better(self, value: float, than: float) -> bool:
        return self.key(value) < self.key(than)


LOSS = Metric("loss", "loss", "minimize")


@dataclass(frozen=True)
class DataSummary:
    """The data of one configuration in numbers. Rows are what an epoch visits (captions, boxes, images).

    `targets` describes what a model has to predict, where that depends on the data or on how they are read: the values
    of runs that differ in it cannot be compared. `notes` are lines on what was chosen for the user.
    """

    train_split_images: int
    train_images: int
    train_rows: int
    val_images: int
    skipped: int
    fingerprint: str
    words: str
    warnings: tuple[str, ...] = ()
    targets: str = ""
    notes: tuple[str, ...] = ()


class TaskFiles(Protocol):
    """The data of a task as files; imports no torch.

    `CHEAP_EVALUATION` are overrides for where many runs are only compared with each other.
    """

    CHEAP_EVALUATION: ClassVar[Mapping[str, Any]]

    @staticmethod
    def metric(config: Any) -> Metric: ...

    @staticmethod
    def check(config: Any) -> DataSummary:
        """Counts the data and checks every file; `DataError` names what is wrong. Generates nothing."""
        ...

    @staticmethod
    def prepare(config: Any, progress: Callable[[int, int], None]) -> None:
        """Builds what is missing of the data; calls `progress(done, of)` meanwhile."""
        ...

    @staticmethod
    def try_out(config: Any) -> None:
        """`ConfigError` for mistakes that only the training libraries can find, within seconds; may import torch."""
        ...


@dataclass(frozen=True)
class Scores:
    """The result of an evaluation: named numbers (`val_loss` always), and samples for a person to look at.

    A sample may have `image` (a file), `references` and `predictions` (texts), boxes, and `generated`, an image that
    the model made: the `bytes` of a PNG, which are written to a file, and replaced by its name, where samples are kept.
    `matrix` is a confusion matrix: `labels`, and `counts` with a row for each true label and a column for each
    predicted one.
    """

    metrics: Mapping[str, float]
    samples: Sequence[Mapping[str, Any]] = ()
    matrix: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Rows:
    """The data of a run, ready to be batched.

    `cached`: every row comes from a store, so that loading processes would not help; `notes`: lines for the user;
    `value_range`: the values of grey images of more than 8 bits that are black and white, which a checkpoint keeps;
    `identity` finds what a checkpoint keeps of the data, to notice other data where a run continues; without it that is
    the fingerprint of `TaskFiles.check`.
    """

    train: RowSource
    val: RowSource
    cached: bool = False
    notes: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    identity: Callable[[], DataIdentity] | None = None


@dataclass(frozen=True)
class Parts:
    """A model's parameters by rate: `pretrained` take `encoder_lr` where one is set."""

    main: Sequence[nn.Parameter]
    pretrained: Sequence[nn.Parameter] = field(default_factory=tuple)

    @classmethod
    def of(cls, model: nn.Module, pretrained: Iterable[nn.Parameter] = ()) -> Parts:
        """The parameters of a model that are trained, those among `pretrained` apart."""
        apart = {id(parameter) for parameter in pretrained}
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return cls(
            main=[parameter for parameter in trained if id(parameter) not in apart],
            pretrained=[parameter for parameter in trained if id(parameter) in apart],
        )


class Task(Protocol):
    """One kind of training. Made from a configuration, or from a checkpoint's `extras` when there is no data."""

    def open_rows(
        self, everything: bool = False, image_size: int | None = None, progress: OnProgress | None = None
    ) -> Rows:
        """The rows of the run; with `everything`, all usable images are validation rows.

        `image_size` is the side in pixels where it is another than the configuration's (progressive resizing).
        """
        ...

    def precompute(self, model: nn.Module, rows: Rows, progress: OnProgress | None = None) -> Rows:
        """The rows with what a frozen part of the model makes of them, computed once for all runs; `rows` itself
        where nothing is frozen or kept."""
        ...

    def build_model(self, weights: bool) -> nn.Module:
        """The model; `weights=False` skips loading pretrained weights, because a checkpoint follows."""
        ...

    def parts(self, model: nn.Module) -> Parts: ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The summed loss of a batch, to be divided by its `weight`; a scalar on the batch's device."""
        ...

    def split(self, batch: Batch, largest: int) -> Sequence[Batch]:
        """The samples of a batch in order, in even parts of at most `largest`, each a batch with its own weight.

        Summed losses, gradients and evaluations of the parts add up to those of the batch (but for what a model
        itself takes from the whole batch, as BatchNorm does).
        """
        ...

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Scores:
        """The scores over validation batches; called in evaluation mode, without gradients, under autocast."""
        ...

    def predict(self, model: nn.Module, folder: Path, device: Any) -> Iterable[Mapping[str, str | bytes]]:
        """Rows of named cells, at least one for each image (or text, where images are made) of a folder, in the order
        of their names, which the first cell gives. A cell of `bytes` is a PNG, which is written beside the table. The
        row of a file that cannot be read may be its name alone."""
        ...

    def rows_to_show(self, progress: OnProgress | None = None) -> Rows:
        """The rows as `open_rows` gives them, for a person to look at; what only a model needs may be left out."""
        ...

    def pictures(self, batch: Batch) -> Sequence[DataPicture]:
        """The samples of a batch for a person to look at, in their order; nothing where they have no picture."""
        ...

    def census(self) -> Census:
        """The numbers of what there is in the data; called after the rows are opened."""
        ...

    def extras(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the weights for the model to be used alone (a vocabulary)."""
        ...
