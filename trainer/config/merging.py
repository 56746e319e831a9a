"""Layers of a configuration over each other, validated; each mistake is said where it was made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from trainer.config.keys import config_class, known_keys, sections
from trainer.config.layers import Said, collect, shortened
from trainer.config.renames import BOUNDS, KNEW_STOPPING, STOPPING, Pairs, in_place, is_older
from trainer.config.settings import RunConfig
from trainer.errors import Problem

Merged = dict[str, Said]


@dataclass
class Layers:
    """A base and the overrides over it, flat and as they are spelt. `names` say where each comes from, where known."""

    task: str
    flat: list[Pairs]
    names: Sequence[str] = ()

    def named(self, problems: Iterable[Problem], layer: int) -> list[Problem]:
        """Problems of a layer with its name."""
        name = self.names[layer] if self.names else ""
        return [Problem(f"{name}: {each.where}", each.what) if name else each for each in problems]

    @cached_property
    def older(self) -> bool:
        """Whether the base is of an older layout: keys in it are spelt as they were then."""
        keys, parts = known_keys(self.task), sections(self.task)
        return any(
            key not in keys and key not in parts and is_older(key, value, self.task) for key, value in self.flat[0]
        )

    def without_stopping(self, said: Merged) -> bool:
        """Whether the base is older than early stopping, and nothing over it asks for that."""
        where = f"{STOPPING}.enabled"
        if self.task in KNEW_STOPPING or where not in known_keys(self.task) or not self.older:
            return False
        return not any(key.startswith(STOPPING) and one.spelling for key, one in said.items())


def merged(layers: Layers, problems: list[Problem]) -> Merged:
    """Canonical key → what is said of it last; mistakes in the keys are appended to `problems`."""
    said: Merged = {}
    for number, pairs in enumerate(layers.flat):
        own: list[Problem] = []
        _put_over(said, collect(pairs, layers.task, own, whole_file=number == 0, layer=number), layers.task)
        problems += layers.named(own, number)
    if layers.without_stopping(said):
        said[f"{STOPPING}.enabled"] = Said(False, "", False)  # said by nobody
    said["task"] = Said(layers.task, "task", layers.task)
    return said


def misfits(layers: Layers, said: Merged) -> tuple[RunConfig | None, list[Problem]]:
    """The typed configuration; None where it is not valid, and the mistakes."""
    valid = _validated(layers.task, said)
    if isinstance(valid, RunConfig):
        return valid, []
    return None, [_problem(item, layers, said) for item in valid]


def _validated(task: str, said: Merged) -> RunConfig | list[ErrorDetails]:
    nested: dict[str, Any] = {"data": {}}
    for path, one in said.items():
        *parents, name = path.split(".")
        node = nested
        for parent in parents:
            if node.get(parent) is None:
                node[parent] = {}
            node = node[parent]
        if name not in node or one.value not in (None, {}):
            node[name] = {} if one.value == {} else one.value
    try:
        return config_class(task)(**nested)
    except ValidationError as error:
        return error.errors()


def _problem(item: ErrorDetails, layers: Layers, said: Merged) -> Problem:
    """A mistake under the spelling of the key, in the layer that made it."""
    where, what = _place_and_words(item)
    key = next((above for above in (where, *reversed(sections_above(where))) if above in said), None)
    if key is None:
        return _of_section(where, what, layers, said)
    one, value = said[key], item["input"]
    what = BOUNDS.get(in_place(one.spelling), what)
    shown_already = isinstance(value, dict | list) or (item["type"] == "value_error" and str(value) in what.split())
    shown = "" if shown_already else f", not {shortened(one.given if key == where else value)}"
    (problem,) = layers.named([Problem(f"{one.spelling or key}{where[len(key) :]}", f"{what}{shown}")], one.layer)
    return problem


def _place_and_words(item: ErrorDetails) -> tuple[str, str]:
    what = item["msg"].removeprefix("Value error, ")
    return ".".join(str(part) for part in item["loc"]), f"{what[0].lower()}{what[1:]}"


def _of_section(where: str, what: str, layers: Layers, said: Merged) -> Problem:
    """Keys that do not fit together: those of the first layer with which they do not, as they are spelt there."""
    guilty = _first_with(where, what, layers)
    own = {
        key: one.spelling
        for key, one in said.items()
        if one.layer == guilty and one.spelling and key != "task" and (not where or key.startswith(f"{where}."))
    }
    words = set(re.findall(r"\w+", what))
    chosen = {key: spelling for key, spelling in own.items() if key.rsplit(".", 1)[-1] in words}
    if guilty and layers.names:
        chosen = chosen or own
        where = ", ".join(chosen.values()) or where
    elif any(key != spelling for key, spelling in chosen.items()):
        where = ", ".join(chosen.values())
    (problem,) = layers.named([Problem(where or "configuration", what)], guilty)
    return problem


def _first_with(where: str, what: str, layers: Layers) -> int:
    """The number of the first layer with which a mistake is there."""
    last = len(layers.flat) - 1
    for number in range(last):
        part = Layers(layers.task, layers.flat[: number + 1])
        valid = _validated(layers.task, merged(part, []))
        if not isinstance(valid, RunConfig) and (where, what) in map(_place_and_words, valid):
            return number
    return last


def _put_over(said: Merged, layer: Merged, task: str) -> None:
    """A later layer over earlier ones: a section set to null removes its keys, and a later key brings it back."""
    parts = sections(task)
    for key, one in layer.items():
        if key in parts:  # null or {}: a section
            below = [known for known in said if known.startswith(f"{key}.")]
            if below and one.value == {}:
                continue  # the section is there, with keys of its own
            for earlier in below:
                del said[earlier]
        for section in sections_above(key):
            said.pop(section, None)
        said[key] = one


@cache
def sections_above(key: str) -> tuple[str, ...]:
    """The dotted sections that a key is in, the outermost first."""
    return tuple(key[: dot.start()] for dot in re.finditer(r"\.", key))
