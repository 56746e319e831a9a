"""What a task gives back, held against its contract: a slip in a task of one's own is said with its place, in words."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

from trainer.errors import TaskError
from trainer.task.protocols import Scores

Kind = TypeVar("Kind")
_WEIGHT = operator.itemgetter("weight")


def given(task: str, method: str, value: Any, kind: type[Kind]) -> Kind:
    """What a method of a task gave, which must be of a kind; `TaskError` otherwise."""
    if not isinstance(value, kind):
        refuse(task, method, f"{words_on(value)}, not {_article(kind.__name__)}")
    return value


def given_scores(task: str, value: Any) -> Scores:
    """What `evaluate` gave, with its metrics as plain numbers, whatever they were computed with."""
    scores = given(task, "evaluate", value, Scores)
    return replace(scores, metrics={name: _number(task, name, metric) for name, metric in scores.metrics.items()})


def given_loss(task: str, value: Any) -> Any:
    """What `loss` gave: a tensor without dimensions."""
    if getattr(value, "ndim", None) != 0 or not hasattr(value, "backward"):
        refuse(task, "loss", f"{words_on(value)}, not a tensor of one number, the sum over a batch")
    return value


def weight_of(task: str, batches: Sequence[Mapping[str, Any]]) -> float:
    """What the losses of some batches are divided by together."""
    try:
        weight: float = sum(map(_WEIGHT, batches))
    except KeyError:
        refuse(task, "open_rows", f"batches of {', '.join(batches[0])}, without their weight")
    return weight


def refuse(task: str, method: str, what: str) -> NoReturn:
    raise TaskError(f"{method} of the task {task} gave {what} (see trainer.api.Task)")


def _number(task: str, name: str, value: Any) -> float:
    found: float | None = None
    with suppress(TypeError, ValueError, RuntimeError):
        found = None if isinstance(value, str | bytes) else float(value)
    if found is None:
        refuse(task, "evaluate", f"{words_on(value)} for {name}, not a number")
    return found


def words_on(value: Any) -> str:
    """A value's kind, and what there is of it in short: a tensor's shape, a small thing itself."""
    kind = _article(type(value).__name__)
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{kind} of shape {list(shape)}"
    return "None" if value is None else f"{kind} ({text})" if len(text := repr(value)) < 60 else kind


def _article(word: str) -> str:
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"
