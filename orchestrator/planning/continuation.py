"""A study that is taken up again: what its plan and a new request may differ in, and what not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.study.ladder import ladder_words
from orchestrator.study.plan import Plan
from orchestrator.study.space import as_json
from trainer.api import ConfigError, Problem

_DIFFERENCES_SHOWN = 12


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
    n_trials = new.n_trials if new.space or new.n_trials != len(new.trials) else len(trials)
    changed = replace(new, trials=trials, shapes=shapes, data_fingerprint=fingerprint, notes=notes)
    changed = replace(changed, data_changed=old.data_changed or old.data_fingerprint != fingerprint)
    # Its own promotions are from scratch; without any, those that there are stay the ones that are shown.
    warm = old.from_checkpoint and not new.promote
    return replace(changed, n_trials=n_trials, closed=old.closed, from_checkpoint=warm)


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
        words = [ladder_words(plan.rungs) for plan in (old, new)]
        found.append(("budget", words[0], words[1]))
    for what in ("sampler", "pruner", "threshold", "seed", "storage"):
        if getattr(old, what) != getattr(new, what):
            found.append((what, as_json(getattr(old, what)), as_json(getattr(new, what))))
    for what in ("anchors", "audit"):
        shares = getattr(old.draws, what), getattr(new.draws, what)
        if shares[0] != shares[1]:
            found.append((what, f"{shares[0]:g}", f"{shares[1]:g}"))
    spaces = [{d.key: as_json({**d.shape, "when": d.when}) for d in plan.space} for plan in (old, new)]
    for key in dict.fromkeys([*spaces[0], *spaces[1]]):
        if spaces[0].get(key) != spaces[1].get(key):
            found.append(
                (f"search_space.{key}", spaces[0].get(key, "not searched"), spaces[1].get(key, "not searched"))
            )
    if not found and old.space != new.space:
        orders = [", ".join(dimension.key for dimension in plan.space) for plan in (old, new)]
        found.append(("the order of search_space", orders[0], orders[1]))
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
