"""Continuing a study that exists: which settings a new request may change, and which it may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestrator.study.ladder import ladder_words
from orchestrator.study.plan import Plan, dotted, with_values
from orchestrator.study.space import as_json
from orchestrator.study.text import counted
from trainer.api import ConfigError, Problem, known_keys

_DIFFERENCES_SHOWN = 12
_SINCE = "training.scheduler.cycle_momentum"


def merge(old: Plan, new: Plan, force_data: bool = False) -> Plan:
    """The plan of a study that is continued: new trials are added at the end, limits and places may change.

    `ConfigError` lists everything else that differs, because results would no longer be comparable.
    """
    new = replace(new, base=with_values(new.base, _kept(old, new)))
    different = _differences(old, new, force_data)
    problems = [
        Problem(f"study {old.name}", f"{what}: {before} in the study, {now} now")
        for what, before, now in different[:_DIFFERENCES_SHOWN]
    ]
    if len(different) > _DIFFERENCES_SHOWN:
        problems.append(Problem(f"study {old.name}", f"and {len(different) - _DIFFERENCES_SHOWN} more keys differ"))
    if problems:
        advice = f"continue {old.folder} with its own settings, or name a new study with --study NAME"
        raise ConfigError([*problems, Problem("", advice)])
    kept = [as_json(trial) for trial in old.trials]
    added = []
    for trial in new.trials:
        if as_json(trial) in kept:
            kept.remove(as_json(trial))
        else:
            added.append(trial)
    trials = (*old.trials, *added)
    fingerprint = new.data_fingerprint if force_data else old.data_fingerprint
    notes = [*new.notes]
    if added:
        notes.append(f"{counted(len(added), 'trial')} added to the study")
    if old.closed:
        notes.append("the study is closed: it starts no more trials")
    return replace(
        new,
        trials=trials,
        shapes={**new.shapes, **old.shapes},
        data_fingerprint=fingerprint,
        data_changed=old.data_changed or old.data_fingerprint != fingerprint,
        notes=tuple(notes),
        # A shorter file removes no trial: the study still trains what it planned.
        n_trials=new.n_trials if new.space or new.n_trials != len(new.trials) else len(trials),
        closed=old.closed,
        # Promotions of the new request start from scratch; without any, the earlier ones are still the ones shown.
        from_checkpoint=old.from_checkpoint and not new.promote,
    )


def _kept(old: Plan, new: Plan) -> dict[str, Any]:
    """What a study goes on with that was begun before there was a choice, unless the request makes it."""
    before, now = (dotted(plan.base, _SINCE) for plan in (old, new))
    return {_SINCE: before} if before is not None and now is None else {}


def _differences(old: Plan, new: Plan, force_data: bool) -> list[tuple[str, Any, Any]]:
    """What differs, the study's own settings before the keys of its base configuration."""
    plans = old, new
    rows: list[tuple[str, Any, Any, Callable[[Any], str]]] = [("budget", old.rungs, new.rungs, ladder_words)]
    for what in ("sampler", "pruner", "threshold", "seed", "storage"):
        rows.append((what, getattr(old, what), getattr(new, what), as_json))
    for what in ("anchors", "audit"):
        rows.append((what, getattr(old.draws, what), getattr(new.draws, what), "{:g}".format))
    before, now = ({d.key: as_json({**d.shape, "when": d.when}) for d in plan.space} for plan in plans)
    for key in before | now:
        rows.append((f"search_space.{key}", before.get(key, "not searched"), now.get(key, "not searched"), str))
    different = [(what, words(left), words(right)) for what, left, right, words in rows if left != right]
    if not different and old.space != new.space:
        earlier, later = (", ".join(dimension.key for dimension in plan.space) for plan in plans)
        different.append(("the order of search_space", earlier, later))
    keys = _base_differences(old, new)
    if old.data_fingerprint != new.data_fingerprint and not force_data:
        hint = "" if different or keys else " (the files changed; --force continues)"
        different.append(("data", old.data_fingerprint, f"{new.data_fingerprint}{hint}"))
    return different + keys


def _base_differences(old: Plan, new: Plan) -> list[tuple[str, Any, Any]]:
    """The keys in which the base configurations differ, except those that only say where a run keeps its files."""
    keys = known_keys(new.base["task"])
    # An older study has the default of a key that came later.
    values = {
        key: (dotted(old.base, key, keys[key].default), dotted(new.base, key))
        for key in keys
        if "place" not in keys[key].roles
    }
    return [
        (key, as_json(before), as_json(now))
        for key, (before, now) in sorted(values.items(), key=lambda item: (item[0] != "task", item[0]))
        if before != now
    ]
