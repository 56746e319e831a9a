"""Default methods of a task, for a user's own task to inherit. Importing it imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from trainer.errors import ConfigError, Problem
from trainer.task.protocols import Parts, Rows

if TYPE_CHECKING:
    from torch import nn

    from trainer.store.arrays import OnProgress
    from trainer.task.batches import Batch
    from trainer.task.pictures import Census, DataPicture


class FilesDefaults:
    """Default methods of `TaskFiles`: nothing to build, no cheaper evaluation, no further checks."""

    CHEAP_EVALUATION: ClassVar[Mapping[str, Any]] = {}

    @staticmethod
    def prepare(config: Any, progress: Callable[[int, int], None]) -> None:
        """Nothing to build."""

    @staticmethod
    def try_out(config: Any) -> None:
        """Nothing more to check."""


class TaskDefaults:
    """Default methods of a `Task` in which nothing is frozen, every parameter has the same rate,
    and every entry of a batch but its weight has one row for each sample, of which the weight is the number."""

    def precompute(self, model: nn.Module, rows: Rows, progress: OnProgress | None = None) -> Rows:
        """Nothing is frozen."""
        return rows

    def parts(self, model: nn.Module) -> Parts:
        """All parameters have one rate."""
        return Parts.of(model)

    def split(self, batch: Batch, largest: int) -> Sequence[Batch]:
        """Splits every entry by its rows."""
        from trainer.task.batches import batches_of, part_sizes, parts_of

        samples = batch["weight"]
        odd = [name for name, value in batch.items() if name != "weight" and len(value) != samples]
        if odd:
            raise TypeError(f"{', '.join(odd)}: not one row for each of {samples} samples; write a split of your own")
        sizes = part_sizes(samples, largest)
        pieces = {name: parts_of(value, sizes) for name, value in batch.items() if name != "weight"}
        return batches_of({**pieces, "weight": sizes})

    def predict(self, model: nn.Module, folder: Path, device: Any) -> Iterable[Mapping[str, str | bytes]]:
        """`ConfigError`: this task does not predict."""
        raise ConfigError([Problem("predict", "this task predicts nothing for a folder: it has no predict of its own")])

    def rows_to_show(self, progress: OnProgress | None = None) -> Rows:
        """The rows of the run, for a person to look at: what only a model needs may be left out."""
        rows: Rows = self.open_rows(progress=progress)  # type: ignore[attr-defined]
        return rows

    def pictures(self, batch: Batch) -> Sequence[DataPicture]:
        """The images in a batch, each with what else there is of its sample; nothing where there are none."""
        from trainer.task.pictures import pictures_of

        return pictures_of(batch)

    def census(self) -> Census:
        """Nothing is counted."""
        from trainer.task.pictures import Census

        return Census({})

    def extras(self) -> dict[str, Any]:
        """The weights are enough."""
        return {}
