"""What a run reports: evaluations while it trains, one outcome at the end. Plain data, no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple


@dataclass(frozen=True)
class Evaluation:
    """One evaluation. `value` is the primary metric, `seconds` the time since the evaluation before it.

    Of them `evaluation_seconds` went into evaluating. `checkpoint_seconds`, known once it is reported, is the time on
    top that the training waited for the evaluation's checkpoint.
    """

    epoch: int
    step: int
    rung: int
    seconds: float
    value: float
    metrics: Mapping[str, float]
    evaluation_seconds: float = 0.0
    # Not known where it is reported again from a checkpoint.
    checkpoint_seconds: float = field(default=0.0, compare=False)

    def line(self) -> dict[str, Any]:
        """The evaluation as a line of `metrics.jsonl`, still as plain data."""
        numbers = {name: getattr(self, name) for name in ("epoch", "step", "rung", "seconds")}
        return {**numbers, "metrics": dict(self.metrics)}


class Heartbeat(NamedTuple):
    """Where a run is: after optimizer step `step` of `steps` in `epoch`. Made at every step, so it is a cheap type."""

    epoch: int
    step: int
    steps: int


Ending = Literal["reached", "finished", "early", "interrupted"]


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended.

    `reached`: the epoch asked for; `finished`: all epochs or `max_iter`; `early`: early stopping; `interrupted`:
    told to stop, in the middle of an epoch or at its end. `evaluations` are all of the run so far, also those
    of earlier calls; `seconds` likewise.
    """

    ending: Ending
    epoch: int
    step: int
    seconds: float
    evaluations: tuple[Evaluation, ...]
    checkpoint: str
    device: str
    precision: str
    reason: str = ""
    warnings: tuple[str, ...] = ()


def _ignore(*_: Any) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """The callbacks of a run. `report` is called once for each evaluation, after its checkpoint, which is
    written beside the training: some steps into the next epoch, and before `train` returns.

    `should_stop` is asked after every optimizer step, `should_rest` at the end of every epoch; on True the run
    writes a checkpoint and returns. `preparing`
    gets how much is done, and of how much, while a cache is built before training; `say` gets lines for the user;
    `stepped` gets the running loss and rate after every `logging.every_n_steps` optimizer steps.
    """

    report: Callable[[Evaluation], None] = _ignore
    heartbeat: Callable[[Heartbeat], None] = _ignore
    should_stop: Callable[[], bool] = _never
    say: Callable[[str], None] = _ignore
    preparing: Callable[[int, int], None] = _ignore
    should_rest: Callable[[], bool] = _never
    stepped: Callable[[int, Mapping[str, float]], None] = _ignore
