"""The contract of a sampler, which proposes the configuration of the next trial.

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
    """Proposes values for the searched keys of one trial, without inactive ones. A proposal depends only on the study's
    seed and state."""

    def propose(self, number: int, state: StudyState) -> Mapping[str, Any] | None:
        """The values for the trial with this number; None where nothing is left to propose."""
        ...


@dataclass(frozen=True)
class Setting:
    """The arguments of a sampler. `values_of` returns a configuration's value for every active key."""

    space: Space
    seed: int
    metric: Metric
    values_of: ValuesOf
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class SamplerKind:
    """A kind of sampler, as `--sampler` names it: a summary in a few words, and its options with their defaults.

    `problems` says why it cannot search a space; `size` is the number of its proposals, None where it is unlimited.
    """

    summary: str
    make: Callable[[Setting], Sampler]
    options: Options = field(default_factory=dict)
    problems: Callable[[Space], Iterator[Problem]] = lambda _space: iter(())
    size: Callable[[Space], int | None] = lambda _space: None
