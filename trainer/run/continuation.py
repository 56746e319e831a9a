"""What a run that continues from a checkpoint must have in common with it: its configuration, and its data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from trainer.config.keys import conditions, known_keys, roles_of
from trainer.config.registry import find_task, load
from trainer.config.resolve import as_now
from trainer.config.settings import RunConfig
from trainer.errors import CheckpointError
from trainer.task.data_identity import DataIdentity
from trainer.task.protocols import Rows


def same_conditions(old: Mapping[str, Any], new: RunConfig) -> bool:
    """Whether losses under two configurations of one run come from the same images at the same size."""
    before, after = as_now(old, new)
    return all(before.get(key) == after.get(key) for key in conditions(new.task))


def check_same(old: Mapping[str, Any], new: RunConfig, climbs: bool, free: tuple[str, ...] = ()) -> None:
    """A checkpoint continues only the configuration that it was made with; `CheckpointError` lists what differs.

    A run that climbs to a higher rung may change what a budget sets, too, and any run what begins like one of `free`.
    """

    def may_change(key: str) -> bool:
        roles = roles_of(new.task, key)
        return "resume" in roles or (climbs and "budget" in roles) or key.startswith(free)

    _refuse([line for key, line in _differing(old, new).items() if not may_change(key)])


def _differing(old: Mapping[str, Any], new: RunConfig) -> dict[str, str]:
    """The keys in which two configurations differ, each with a line on it."""
    before, after = as_now(old, new)
    word = partial(json.dumps, default=str)
    return {
        key: f"{key}: {word(before.get(key))} in the checkpoint, {word(after.get(key))} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }


def _refuse(different: Sequence[str]) -> None:
    if different:
        raise CheckpointError(f"the checkpoint belongs to another configuration:\n  {chr(10).join(different)}")


def data_places(task: str) -> tuple[str, ...]:
    """The keys that say where the data are: they may be other files with the same content."""
    return tuple(key for key, known in known_keys(task).items() if key.startswith("data.") and known.kind == "path")


def checked_identity(
    rows: Rows, config: RunConfig, state: Mapping[str, Any] | None, force: bool, say: Callable[[str], None]
) -> DataIdentity:
    """What a checkpoint keeps of the data behind these rows; where a run continues from one, they must be its data."""
    if rows.identity is not None:
        identity = rows.identity()
    else:
        identity = DataIdentity(load(find_task(config.task).files).check(config).fingerprint)
    if state is not None:
        _check_same_data(state, config, identity, force, say)
    return identity


def _check_same_data(
    state: Mapping[str, Any], config: RunConfig, identity: DataIdentity, force: bool, say: Callable[[str], None]
) -> None:
    """A checkpoint continues on the data that it was made with, wherever they now are.

    `CheckpointError` says what has changed; with `force` it is said, and the run continues. A checkpoint of before
    there were identities is taken where its configuration names the same files.
    """
    places = data_places(config.task)
    elsewhere = {key: line for key, line in _differing(state["config"], config).items() if key in places}
    known = state.get("data")
    if known is None:
        say("the checkpoint, of an earlier version, does not tell its data: nothing checks that they are the same now")
    changes = identity.changes_from(known) if known is not None else []
    if not force and not changes:
        _refuse([line for key, line in elsewhere.items() if known is None or key in identity.apart])
    if not changes:
        return
    what = f"the data are not those that the checkpoint was trained on: {'; '.join([*elsewhere.values(), *changes])}"
    if not force:
        advice = "--force continues on them all the same; checkpoint.weights begins a new run with its weights"
        raise CheckpointError(f"{what}; {advice}")
    say(f"warning: {what}")
