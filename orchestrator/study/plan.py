"""The plan of a study: everything that it is defined by, frozen and validated before anything runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.study.draws import NO_DRAWS, Draws
from orchestrator.study.folder import StudyFolder
from orchestrator.study.ladder import Budget, Rung, rung_overrides, single_rung
from orchestrator.study.space import Shape, Space, as_json, space_from_plain
from trainer.api import (
    ConfigError,
    Metric,
    Problem,
    RunConfig,
    canonical_overrides,
    cheap_evaluation,
    metric_of,
    resolve_config,
)

FORMAT = 1
_REMEMBERED = 8


@dataclass(frozen=True)
class Limits:
    """What the whole study may spend; None means no limit. A slice is killed after `stall_seconds` without progress."""

    timeout_seconds: float | None = None
    max_gpu_hours: float | None = None
    max_failures: int = 10
    max_checkpoint_gb: float = 20.0
    stall_seconds: float = 1800.0


@dataclass(frozen=True)
class Places:
    """Where slices run; this may change with every call."""

    workers: int = 1
    threads_per_slot: int = 1
    slots: str = "local"


@dataclass(frozen=True)
class Plan:
    """The definition of one study. `base` is the configuration at full budget that every trial starts from.

    `trials` only ever grows. `from_checkpoint`: promoted runs start from the checkpoints of the search, as the last
    promotion asked, and not from scratch.
    """

    name: str
    folder: Path
    base: Mapping[str, Any]
    rungs: tuple[Rung, ...]
    trials: tuple[Mapping[str, Any], ...]
    shapes: Mapping[str, Shape]
    pruner: Mapping[str, Any]
    threshold: float | None
    seed: int
    n_trials: int
    data_fingerprint: str
    limits: Limits = Limits()
    places: Places = Places()
    promote: int = 0
    promote_seeds: int = 1
    from_checkpoint: bool = False
    storage: str = ""
    warmup_steps: int = 0
    full_steps_per_epoch: int = 0
    full_images: int = 1
    space: Space = ()
    sampler: Mapping[str, Any] = field(default_factory=dict)
    draws: Draws = NO_DRAWS
    closed: bool = False
    data_changed: bool = False
    notes: tuple[str, ...] = field(default=(), compare=False)
    _plains: dict[tuple[str, Rung], Mapping[str, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def base_config(self) -> RunConfig:
        return resolve_config(self.base)

    @cached_property
    def metric(self) -> Metric:
        return metric_of(self.base_config)

    @property
    def top(self) -> Rung:
        return self.rungs[-1]

    @cached_property
    def full(self) -> Rung:
        """The full budget as a rung: that of the base configuration."""
        return single_rung(Budget(), self.base_config)

    def images(self, rung: Rung) -> int:
        """The number of images in an epoch of a rung."""
        return min(rung.subset or self.full_images, self.full_images)

    def start_of(self, number: int) -> int:
        """The epoch after which a trial enters a rung; rungs are counted from 1."""
        return self.rungs[number - 2].epochs if number > 1 else 0

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(self.shapes)

    @property
    def reduction_factor(self) -> float | None:
        """η: the best ⌊n / η⌋ of n trials on a rung continue; None where no rung decides."""
        factor: float | None = self.pruner.get("reduction_factor")
        return factor

    @property
    def files(self) -> StudyFolder:
        return StudyFolder(self.folder)

    @property
    def full_name(self) -> str:
        """The name of the Optuna study with the promoted runs, in the same storage, so that the dashboard shows both.

        Runs that start from a checkpoint have another one: they had more epochs, so a mean over both would be wrong.
        """
        return f"{self.name}/full{'-continued' if self.from_checkpoint else ''}"

    @property
    def storage_url(self) -> str:
        return self.storage or f"sqlite:///{self.files.database}"

    def search_config(self, overrides: Mapping[str, Any], rung: Rung) -> RunConfig:
        """A trial's configuration on a rung."""
        stopping = self.base_config.training.early_stopping
        cheap = {
            **cheap_evaluation(self.base_config.task),
            "training.early_stopping.enabled": stopping.enabled and stopping.in_search,
            "data.split_seed": self.base_config.split_seed,
        }
        return resolve_config(self.base, cheap, overrides, rung_overrides(rung, self.top, self.warmup(overrides)))

    def warmup(self, overrides: Mapping[str, Any]) -> float | None:
        """The warm-up of full training as a share of its epochs, for a trial's own batch size and warm-up steps."""
        steps = overrides.get("training.scheduler.warmup_steps", self.warmup_steps)
        if not steps or "training.scheduler.warmup_fraction" in overrides or not self.full_steps_per_epoch:
            return None
        base = self.base_config.training
        rows = self.full_steps_per_epoch * base.batch_size * base.accumulate_grad_batches
        batch = overrides.get("training.batch_size", base.batch_size)
        group = overrides.get("training.accumulate_grad_batches", base.accumulate_grad_batches)
        per_epoch = max(1, rows // (batch * group))
        return float(min(0.999, steps / (per_epoch * self.base_config.schedule_epochs)))

    def full_config(self, overrides: Mapping[str, Any], seed_index: int) -> RunConfig:
        """A trial's configuration at full budget; the split of the data does not depend on the seed."""
        seeds = {"seed": self.base_config.seed + seed_index, "data.split_seed": self.base_config.split_seed}
        return resolve_config(self.base, overrides, seeds)

    def search_plain(self, overrides: Mapping[str, Any], rung: Rung) -> Mapping[str, Any]:
        """`search_config` as plain data, cached: a trial's key and its first slice need the same one."""
        key = as_json(dict(overrides)), rung
        if key not in self._plains:
            while len(self._plains) >= _REMEMBERED:
                del self._plains[next(iter(self._plains))]
            self._plains[key] = self.search_config(overrides, rung).plain()
        return self._plains[key]

    def config_key(self, overrides: Mapping[str, Any]) -> str:
        """A hash that is equal for two trials exactly where their resolved configurations are equal."""
        return hashlib.sha256(as_json(self.search_plain(overrides, self.top)).encode()).hexdigest()[:16]

    @cached_property
    def repeats(self) -> int:
        """How many trials of the list repeat an earlier configuration of it."""
        keys = [self.config_key(trial) for trial in self.trials[: self.n_trials]]
        return len(keys) - len(set(keys))

    @cached_property
    def base_values(self) -> Mapping[str, Any]:
        """The values of the parameters that a trial does not set."""
        return {key: dotted(self.base, key) for key in self.parameters}

    def values_of(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """A trial's value for every parameter, without those whose condition is not met."""
        values = {key: overrides.get(key, value) for key, value in self.base_values.items()}
        for dimension in self.space:
            if dimension.key not in overrides and not dimension.active(values):
                values.pop(dimension.key)
        return values

    def plain(self) -> dict[str, Any]:
        """As `plan.yaml` holds it."""
        return {
            "format": FORMAT,
            "name": self.name,
            "metric": {"name": self.metric.name, "direction": self.metric.direction},
            "rungs": [rung.plain() for rung in self.rungs],
            "sampler": dict(self.sampler),
            "space": [dimension.plain() for dimension in self.space],
            "pruner": dict(self.pruner),
            "early_stop_threshold": self.threshold,
            "trust": {"anchors": self.draws.anchors, "audit": self.draws.audit},
            "promote": {"top": self.promote, "seeds": self.promote_seeds, "from_checkpoint": self.from_checkpoint},
            "limits": vars(self.limits).copy(),
            "places": {key: value for key, value in vars(self.places).items() if (key, value) != ("slots", "local")},
            **{name: getattr(self, name) for name in _SAME},
            "shapes": {key: dict(shape) for key, shape in self.shapes.items()},
            "trials": [dict(trial) for trial in self.trials],
            "base": dict(self.base),
        }


# Fields that `plan.yaml` holds under their own names, as they are.
_SAME = (
    *("seed", "n_trials", "storage", "data_fingerprint", "warmup_steps", "full_steps_per_epoch", "full_images"),
    *("closed", "data_changed"),
)


def plan_from_plain(plain: Mapping[str, Any], folder: Path) -> Plan:
    """The plan in the content of a `plan.yaml`; `ConfigError` where it is not valid."""
    try:
        if plain["format"] != FORMAT:
            raise KeyError("format")
        promote = plain["promote"]
        return Plan(
            name=plain["name"],
            folder=folder,
            base=_in_todays_keys(plain["base"]),
            rungs=tuple(Rung(**rung) for rung in plain["rungs"]),
            trials=tuple(plain["trials"]),
            shapes=plain["shapes"],
            pruner=plain["pruner"],
            threshold=plain["early_stop_threshold"],
            limits=Limits(**plain["limits"]),
            places=Places(**plain["places"]),
            promote=promote["top"],
            promote_seeds=promote["seeds"],
            from_checkpoint=promote.get("from_checkpoint", False),
            space=space_from_plain(plain.get("space", ())),
            sampler=plain.get("sampler", {}),
            draws=Draws(**plain.get("trust", {}), seed=plain["seed"]),
            **{name: plain[name] for name in _SAME},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError([Problem(str(StudyFolder(folder).plan), f"not a plan of this version ({error})")]) from None


def _in_todays_keys(base: Mapping[str, Any]) -> Mapping[str, Any]:
    """The base configuration of a study, perhaps of an earlier version."""
    return with_values({}, canonical_overrides(base, base["task"], frozen=True))


def dotted(tree: Mapping[str, Any], path: str, missing: Any = None) -> Any:
    """The value at a dotted path of a nested mapping; None where a section of the path is missing or null.

    `missing` where only the last key is not there.
    """
    *sections, name = path.split(".")
    node: Any = tree
    for part in sections:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node.get(name, missing) if isinstance(node, Mapping) else None


def with_values(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a nested mapping with other values at dotted paths; the rest is shared."""
    copy = dict(tree)
    for path, value in values.items():
        section, _, rest = path.partition(".")
        copy[section] = with_values(copy.get(section) or {}, {rest: value}) if rest else value
    return copy
