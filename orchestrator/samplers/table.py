"""The samplers by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pkgutil import resolve_name
from typing import Any

from orchestrator.samplers.sampler import Sampler, SamplerKind, Setting, ValuesOf
from orchestrator.study.space import Space
from trainer.api import Metric

# Name, as `--sampler` takes it → "module:object"; loaded when chosen.
SAMPLERS: dict[str, str] = {
    "random": "orchestrator.samplers.optuna_samplers:RANDOM",
    "tpe": "orchestrator.samplers.optuna_samplers:TPE",
    "gp": "orchestrator.samplers.optuna_samplers:GP",
    "qmc": "orchestrator.samplers.fixed_orders:QUASI_RANDOM",
    "grid": "orchestrator.samplers.fixed_orders:GRID",
}
USUAL = "tpe"


@cache
def sampler_kind(name: str) -> SamplerKind:
    kind: SamplerKind = resolve_name(SAMPLERS[name])
    return kind


def make_sampler(settings: Mapping[str, Any], space: Space, seed: int, metric: Metric, values_of: ValuesOf) -> Sampler:
    """The sampler of a plan's settings: its name with all its options."""
    return sampler_kind(settings["name"]).make(Setting(space, seed, metric, values_of, settings))
