"""Checks of what the methods of a task return: a mistake in a user's own task is reported with its method."""

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
    """The value that a method of a task returned, of the type that it must have; `TaskError` otherwise."""
    if not isinstance(value, kind):
        refuse(task, method, f"{described(value)}, not {_article(kind.__name__)}")
    return value


def given_scores(task: str, value: Any) -> Scores:
    """The scores that `evaluate` returned, with their metrics as plain Python numbers."""
    scores = given(task, "evaluate", value, Scores)
    return replace(scores, metrics={name: _number(task, name, metric) for name, metric in scores.metrics.items()})


def given_loss(task: str, value: Any) -> Any:
    """The loss that `loss` returned: a tensor without dimensions."""
    if getattr(value, "ndim", None) != 0 or not hasattr(value, "backward"):
        refuse(task, "loss", f"{described(value)}, not a tensor of one number, the sum over a batch")
    return value


def weight_of(task: str, batches: Sequence[Mapping[str, Any]]) -> float:
    """The summed weight of some batches, by which their losses are divided."""
    try:
        weight: float = sum(map(_WEIGHT, batches))
    except KeyError:
        refuse(task, "open_rows", f"batches of {', '.join(batches[0])}, without their weight")
    return weight


def refuse(task: str, method: str, what: str) -> NoReturn:
    raise TaskError(f"{method} of the task {task} gave {what} (see trainer.api.Task)")


def _number(task: str, name: str, value: Any) -> float:
    number: float | None = None
    with suppress(TypeError, ValueError, RuntimeError):
        number = None if isinstance(value, str | bytes) else float(value)
    if number is None:
        refuse(task, "evaluate", f"{described(value)} for {name}, not a number")
    return number


def described(value: Any) -> str:
    """A short description of a value: its type, and its shape or, if it is short, its text."""
    kind = _article(type(value).__name__)
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{kind} of shape {list(shape)}"
    return "None" if value is None else f"{kind} ({text})" if len(text := repr(value)) < 60 else kind


def _article(word: str) -> str:
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"
