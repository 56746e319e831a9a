"""The contract of a sampler: which configuration to try next.

To add one: a file with a `SamplerKind`, and a line in `table.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.study.space import Space
from orchestrator.study.state import StudyState
from trainer.api import Metric, Problem

Options = Mapping[str, Any]
ValuesOf = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Sampler(Protocol):
    """Proposes the searched keys of one trial; inactive ones are left out.

    Each proposal follows from the study's seed and state alone.
    """

    def propose(self, number: int, state: StudyState) -> Mapping[str, Any] | None:
        """For the trial that will have this number; None where nothing is left to propose."""
        ...


@dataclass(frozen=True)
class Setting:
    """What a sampler is made from. `values_of` gives a configuration's value for every active key."""

    space: Space
    seed: int
    metric: Metric
    values_of: ValuesOf
    options: Options = field(default_factory=dict)


def _no_problems(_space: Space) -> Iterator[Problem]:
    yield from ()


def _endless(_space: Space) -> int | None:
    return None


@dataclass(frozen=True)
class SamplerKind:
    """One sampler, as `--sampler` names it: what it does in a few words, its options with their usual values.

    `problems` says why it cannot search a space; `size` is how many configurations it has to propose, None for no end.
    """

    summary: str
    make: Callable[[Setting], Sampler]
    options: Options = field(default_factory=dict)
    problems: Callable[[Space], Iterator[Problem]] = _no_problems
    size: Callable[[Space], int | None] = _endless
