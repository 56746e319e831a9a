"""YAML or a mapping, and layers of dotted overrides → one validated configuration.

The only place where either enters. All mistakes come in one `ConfigError`, each with its dotted path and,
for an unknown key, the nearest known one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from trainer.config.keys import dotted, known_keys
from trainer.config.layers import collect, flattened, shortened
from trainer.config.merging import Layers, merged, misfits, sections_above
from trainer.config.reference import is_reference
from trainer.config.registry import TASKS, find_task
from trainer.config.renames import DECIDED, LEFT_OPEN, STOPPING, assumed, thawed
from trainer.config.settings import RunConfig
from trainer.config.yaml import dump_yaml, parse_yaml, read_yaml
from trainer.errors import ConfigError, Problem, did_you_mean

Dotted = dict[str, Any]


def parse_assignments(words: Iterable[str]) -> Dotted:
    """`key=value` words of a command line → dotted overrides; values are read as YAML."""
    overrides: Dotted = {}
    problems: list[Problem] = []
    for assignment in words:
        key, sign, text = assignment.partition("=")
        key = key.strip()
        if not sign or not key:
            problems.append(Problem(assignment, "expected key=value, for example training.batch_size=16"))
        elif key in overrides:
            problems.append(Problem(key, "is set twice on the command line"))
        else:
            overrides[key] = parse_yaml(text, assignment)
    if problems:
        raise ConfigError(problems)
    return overrides


def read_config_file(path: Path) -> dict[str, Any]:
    """The mapping in a configuration file."""
    value = read_yaml(path)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ConfigError([Problem(str(path), f"expected a mapping of keys, found {shortened(value)}")])
    return cast(dict[str, Any], value)


def task_of(*layers: Mapping[str, Any]) -> str:
    """The task that the last layer names which names one: a built-in task, or a reference that can be imported."""
    named = [layer["task"] for layer in layers if "task" in layer]
    if not named:
        raise ConfigError([Problem("task", f"is missing; name one of: {', '.join(TASKS)}")])
    task = str(named[-1])
    if task not in TASKS and not is_reference(task):
        known = f"; the tasks are {', '.join(TASKS)}, and package.module:object for one of your own"
        raise ConfigError([Problem("task", f"unknown task {named[-1]!r}{did_you_mean(task, TASKS, 0.75)}{known}")])
    find_task(task)
    return task


def canonical_overrides(layer: Mapping[str, Any], task: str, whole_file: bool = False, frozen: bool = False) -> Dotted:
    """One layer (nested, dotted or mixed, in any accepted spelling) as canonical dotted keys.

    A `whole_file` is read as the older program read it; an override is taken literally; what is `frozen` in a plan or
    a checkpoint, perhaps by an earlier version, is only brought to today's keys. Raises `ConfigError` with every
    unknown key, misplaced section, wrong kind, or key given twice.
    """
    if frozen:
        return thawed(dotted(layer), task)
    problems: list[Problem] = []
    said = collect(flattened(layer, task, problems), task, problems, whole_file)
    if problems:
        raise ConfigError(problems)
    return {key: one.value for key, one in said.items()}


def assumptions(source: Mapping[str, Any], task: str, *layers: Mapping[str, Any], block: bool = False) -> list[str]:
    """Lines for the user: what an older file and the layers over it left open, and what is assumed.

    With `block` also the keys that today's defaults decide for a file of an older layout.
    """
    read = Layers(task, [flattened(layer, task, []) for layer in (source, *layers)])
    said = merged(read, [])
    keys, line = LEFT_OPEN.get(task, (frozenset(), ""))
    lines = [line] if keys and not keys & said.keys() else []
    lines += assumed([pair for pairs in read.flat for pair in pairs])
    if block and read.older:
        known = known_keys(task)
        decided = {key: known[key].default for key in DECIDED if key in known and key not in said}
        if read.without_stopping(said):
            decided[f"{STOPPING}.enabled"] = False
        lines += ["this file is of an older layout; what it leaves open is decided so:"] if decided else []
        lines += [f"  {key} = {scalar(value)}" for key, value in decided.items()]
    return lines


def scalar(value: Any) -> str:
    """A value as YAML on one line."""
    plain = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
    return dump_yaml(plain).removesuffix("...\n").strip()


def merged_values(source: Mapping[str, Any], task: str, *layers: Mapping[str, Any]) -> Dotted:
    """A whole file and layers over it as canonical dotted keys, with what a file of an older layout means unsaid."""
    problems: list[Problem] = []
    said = merged(Layers(task, [flattened(layer, task, problems) for layer in (source, *layers)]), problems)
    if problems:
        raise ConfigError(problems)
    return {key: one.value for key, one in said.items()}


def resolve_config(source: Mapping[str, Any], *layers: Mapping[str, Any], names: Sequence[str] = ()) -> RunConfig:
    """The configuration from a base mapping and layers of overrides, later ones winning.

    `names` say for the errors where the base and each layer come from: a file, the command line.
    """
    task = task_of(source, *layers)
    problems: list[Problem] = []
    read = Layers(task, [], names)
    for layer in (source, *layers):
        own: list[Problem] = []
        read.flat.append(flattened(layer, task, own))
        problems += read.named(own, len(read.flat) - 1)
    said = merged(read, problems)
    config, wrong = misfits(read, said)
    problems += wrong
    if config is None or problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return config


def load_config(path: Path, *layers: Mapping[str, Any]) -> RunConfig:
    """`resolve_config` of a file; each mistake names the file, or the override that it is in."""
    source = read_config_file(path)
    try:
        task_of(source, *layers)
    except ConfigError as error:
        here = "" if any("task" in layer for layer in layers) else f"{path}: "
        raise ConfigError([Problem(f"{here}{problem.where}", problem.what) for problem in error.problems]) from None
    return resolve_config(source, *layers, names=(str(path), *("" for _ in layers)))


def as_now(frozen: Mapping[str, Any], now: RunConfig) -> tuple[Dotted, Dotted]:
    """The dotted keys of a checkpoint's configuration, perhaps of an earlier version, and those of one now.

    A key that the earlier version had not has the value by which the run went on then; null now is no other.
    """
    known, after, held = known_keys(now.task), dotted(now.plain()), dotted(frozen)
    unsaid = {key for key in after if after[key] is None and key not in held}
    before = {key: value for key, value in thawed(held, now.task).items() if key not in unsaid}
    for key in after.keys() - before.keys():
        section_is_null = any(before.get(above, "") is None for above in sections_above(key))
        if key in known and not section_is_null:
            before[key] = known[key].default
    return before, after
