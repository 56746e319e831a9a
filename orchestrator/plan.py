"""Trials file and flags → one frozen, validated plan. Nothing runs before every mistake has been said."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.ladder import Budget, Rung, rung_overrides, single_rung
from orchestrator.space import Shape, as_json
from trainer.api import ConfigError, Metric, Problem, RunConfig, cheap_evaluation, metric_of, resolve_config

FORMAT = 1
_DIFFERENCES_SHOWN = 12


@dataclass(frozen=True)
class Limits:
    """What the whole study may spend; None is no limit. `stall_seconds` without progress and a slice is killed."""

    timeout_seconds: float | None = None
    max_gpu_hours: float | None = None
    max_failures: int = 10
    max_checkpoint_gb: float = 20.0
    stall_seconds: float = 1800.0


@dataclass(frozen=True)
class Places:
    """Where slices run: may change from call to call."""

    workers: int = 1
    threads_per_slot: int = 1


@dataclass(frozen=True)
class Plan:
    """One study, frozen. `base` is the full-budget configuration that every trial starts from.

    `said` are the canonical keys that file and command line set on top of the base file; `trials` only ever
    grows. `warmup` is full training's warm-up as a share of its progress.
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
    storage: str = ""
    warmup_steps: int = 0
    full_steps_per_epoch: int = 0
    full_images: int = 1
    closed: bool = False
    data_changed: bool = False
    notes: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def base_config(self) -> RunConfig:
        config: RunConfig = resolve_config(self.base)
        return config

    @cached_property
    def metric(self) -> Metric:
        return metric_of(self.base_config)

    @property
    def top(self) -> Rung:
        return self.rungs[-1]

    @cached_property
    def full(self) -> Rung:
        """The full budget, as a rung: the base configuration's own."""
        return single_rung(Budget(), self.base_config)

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(self.shapes)

    @property
    def storage_url(self) -> str:
        return self.storage or f"sqlite:///{self.folder / 'study.db'}"

    def search_config(self, overrides: Mapping[str, Any], rung: Rung, own: Mapping[str, Any]) -> RunConfig:
        """A trial's configuration on a rung; `own` are the keys of the run itself (folders, names)."""
        config: RunConfig = resolve_config(self.base, *self._search_layers(overrides, rung), own)
        return config

    def _search_layers(self, overrides: Mapping[str, Any], rung: Rung) -> Sequence[Mapping[str, Any]]:
        stopping = self.base_config.training.early_stopping
        cheap = {
            **cheap_evaluation(self.base_config.task),
            "training.early_stopping.enabled": stopping.enabled and stopping.in_search,
            "data.split_seed": self.base_config.split_seed,
        }
        return cheap, overrides, rung_overrides(rung, self.top, self.warmup(overrides))

    def warmup(self, overrides: Mapping[str, Any]) -> float | None:
        """Full training's warm-up as a share of its progress, for a trial's own batch size and steps."""
        steps = overrides.get("training.scheduler.warmup_steps", self.warmup_steps)
        if not steps or "training.scheduler.warmup_fraction" in overrides or not self.full_steps_per_epoch:
            return None
        base = self.base_config.training
        rows = self.full_steps_per_epoch * base.batch_size * base.accumulate_grad_batches
        batch = overrides.get("training.batch_size", base.batch_size)
        group = overrides.get("training.accumulate_grad_batches", base.accumulate_grad_batches)
        per_epoch = max(1, rows // (batch * group))
        return float(min(0.999, steps / (per_epoch * self.base_config.schedule_epochs)))

    def full_config(self, overrides: Mapping[str, Any], seed_index: int, own: Mapping[str, Any]) -> RunConfig:
        """A trial's configuration at full budget; the split does not move with the seed."""
        seeds = {"seed": self.base_config.seed + seed_index, "data.split_seed": self.base_config.split_seed}
        config: RunConfig = resolve_config(self.base, overrides, seeds, own)
        return config

    def config_key(self, overrides: Mapping[str, Any]) -> str:
        """The same for two trials exactly where their resolved configurations are the same."""
        plain = self.search_config(overrides, self.top, {}).plain()
        return hashlib.sha256(as_json(plain).encode()).hexdigest()[:16]

    @cached_property
    def duplicates(self) -> Mapping[int, int]:
        """Place in the list → the first place with the same configuration, for those that have one."""
        first: dict[str, int] = {}
        keys = [self.config_key(trial) for trial in self.trials]
        return {i: first[key] for i, key in enumerate(keys) if first.setdefault(key, i) != i}

    def plain(self) -> dict[str, Any]:
        """As `plan.yaml` holds it."""
        return {
            "format": FORMAT,
            "name": self.name,
            "metric": {"name": self.metric.name, "direction": self.metric.direction},
            "rungs": [rung.plain() for rung in self.rungs],
            "pruner": dict(self.pruner),
            "early_stop_threshold": self.threshold,
            "seed": self.seed,
            "n_trials": self.n_trials,
            "promote": {"top": self.promote, "seeds": self.promote_seeds},
            "limits": vars(self.limits).copy(),
            "places": vars(self.places).copy(),
            "storage": self.storage,
            "data_fingerprint": self.data_fingerprint,
            "warmup_steps": self.warmup_steps,
            "full_steps_per_epoch": self.full_steps_per_epoch,
            "full_images": self.full_images,
            "closed": self.closed,
            "data_changed": self.data_changed,
            "shapes": {key: dict(shape) for key, shape in self.shapes.items()},
            "trials": [dict(trial) for trial in self.trials],
            "base": dict(self.base),
        }


def plan_from_plain(found: Mapping[str, Any], folder: Path) -> Plan:
    """The plan in a `plan.yaml`; `ConfigError` where it is none."""
    try:
        if found["format"] != FORMAT:
            raise KeyError("format")
        return Plan(
            name=found["name"],
            folder=folder,
            base=found["base"],
            rungs=tuple(Rung(**rung) for rung in found["rungs"]),
            trials=tuple(found["trials"]),
            shapes=found["shapes"],
            pruner=found["pruner"],
            threshold=found["early_stop_threshold"],
            seed=found["seed"],
            n_trials=found["n_trials"],
            data_fingerprint=found["data_fingerprint"],
            limits=Limits(**found["limits"]),
            places=Places(**found["places"]),
            promote=found["promote"]["top"],
            promote_seeds=found["promote"]["seeds"],
            storage=found["storage"],
            warmup_steps=found["warmup_steps"],
            full_steps_per_epoch=found["full_steps_per_epoch"],
            full_images=found["full_images"],
            closed=found["closed"],
            data_changed=found["data_changed"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        place = str(folder / "plan.yaml")
        raise ConfigError([Problem(place, f"not a plan of this version ({error})")]) from None


def merge(old: Plan, new: Plan, force_data: bool = False) -> Plan:
    """The plan of a study that is taken up again: new trials are added at the end, limits and places may change.

    `ConfigError` lists everything else that differs, because results would no longer be comparable.
    """
    different = _differences(old, new, force_data)
    problems = [
        Problem(f"study {old.name}", f"{what}: {before} in the study, {now} now")
        for what, before, now in different[:_DIFFERENCES_SHOWN]
    ]
    if len(different) > _DIFFERENCES_SHOWN:
        problems.append(Problem(f"study {old.name}", f"and {len(different) - _DIFFERENCES_SHOWN} more keys differ"))
    if problems:
        advice = f"continue {old.folder} with what it was made with, or name a new study with --study NAME"
        raise ConfigError([*problems, Problem("", advice)])
    kept = [as_json(trial) for trial in old.trials]
    added = []
    for trial in new.trials:
        if as_json(trial) in kept:
            kept.remove(as_json(trial))
        else:
            added.append(trial)
    fingerprint = new.data_fingerprint if force_data else old.data_fingerprint
    shapes = {**new.shapes, **old.shapes}
    counted = f"{len(added)} trial{'' if len(added) == 1 else 's'} added to the study"
    closed = "the study was closed: it asks for no more trials"
    notes = (*new.notes, *([counted] if added else []), *([closed] if old.closed else []))
    trials = (*old.trials, *added)
    # A shorter file removes nothing: what the study was to train, it trains.
    n_trials = new.n_trials if new.n_trials != len(new.trials) else len(trials)
    changed = replace(new, trials=trials, shapes=shapes, data_fingerprint=fingerprint, notes=notes)
    changed = replace(changed, data_changed=old.data_changed or old.data_fingerprint != fingerprint)
    return replace(changed, n_trials=n_trials, closed=old.closed)


def _differences(old: Plan, new: Plan, force_data: bool) -> list[tuple[str, Any, Any]]:
    """What differs, the study's own settings before the keys of its base configuration."""
    before, now = _flat(old.base), _flat(new.base)
    keys = [
        (key, as_json(before.get(key)), as_json(now.get(key)))
        for key in sorted(before.keys() | now.keys(), key=lambda key: (key != "task", key))
        if before.get(key) != now.get(key) and not key.startswith(("checkpoint.", "logging."))
    ]
    found: list[tuple[str, Any, Any]] = []
    if old.rungs != new.rungs:
        words = [" → ".join(rung.words() for rung in plan.rungs) for plan in (old, new)]
        found.append(("budget", words[0], words[1]))
    for what in ("pruner", "threshold", "seed", "storage"):
        if getattr(old, what) != getattr(new, what):
            found.append((what, as_json(getattr(old, what)), as_json(getattr(new, what))))
    if old.data_fingerprint != new.data_fingerprint and not force_data:
        hint = "" if found or keys else " (the files changed; --force goes on)"
        found.append(("data", old.data_fingerprint, f"{new.data_fingerprint}{hint}"))
    return found + keys


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found
