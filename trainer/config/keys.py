"""What may stand in a configuration: every dotted key with its kind, bounds, default and meaning.

Read off the typed configuration, so that nothing is said twice. Imports no torch.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trainer.config.registry import find_task, load
from trainer.config.settings import RunConfig

Kind = Literal["float", "int", "bool", "str", "choice", "path", "list"]


@dataclass(frozen=True)
class Key:
    """One dotted key. `low` and `high` bound a search; `log` says that it is searched on a log scale.

    `also` are single values beside the kind: `model.pretrained` is a text or false.
    """

    path: str
    kind: Kind
    nullable: bool
    default: Any
    meaning: str
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    constraint: str = ""
    also: tuple[Any, ...] = ()


def config_class(task: str) -> type[RunConfig]:
    """The configuration class of a task; `KeyError` for an unknown one, `ConfigError` for a broken one."""
    cls: type[RunConfig] = load(find_task(task).config)
    return cls


@cache
def known_keys(task: str) -> Mapping[str, Key]:
    """Every dotted key of a task's configuration, in the order of the schema."""
    return dict(_walk(config_class(task), ""))


@cache
def sections(task: str) -> Mapping[str, bool]:
    """Every dotted section of a task's configuration → whether it may be null."""
    return dict(_walk_sections(config_class(task), ""))


def section_class(annotation: Any) -> type[BaseModel] | None:
    """The section behind a field's annotation, also behind `Section | None`; None for a value."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _walk_sections(model: type[BaseModel], prefix: str) -> list[tuple[str, bool]]:
    found: list[tuple[str, bool]] = []
    for name, info in model.model_fields.items():
        section = section_class(info.annotation)
        if section is not None:
            nullable = type(None) in get_args(info.annotation)
            found += [(prefix + name, nullable), *_walk_sections(section, f"{prefix}{name}.")]
    return found


def _walk(model: type[BaseModel], prefix: str) -> list[tuple[str, Key]]:
    found: list[tuple[str, Key]] = []
    for name, info in model.model_fields.items():
        section = section_class(info.annotation)
        if section is not None:
            found += _walk(section, f"{prefix}{name}.")
        else:
            found.append((prefix + name, _key(prefix + name, info)))
    return found


def _key(path: str, info: FieldInfo) -> Key:
    annotation, nullable = _without_none(info.annotation)
    kind, choices = _kind(annotation)
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    bounds = {type(item): item for item in info.metadata}
    low, high = _bounds(bounds, kind)
    search = extra.get("search")
    if isinstance(search, list):
        low, high = (float(search[0]), float(search[1]))  # type: ignore[arg-type]
    return Key(
        path=path,
        kind=kind,
        nullable=nullable,
        default=None if info.is_required() else info.default,
        meaning=info.description or "",
        choices=choices,
        low=low,
        high=high,
        log=extra.get("scale") == "log",
        constraint=_constraint(bounds),
        also=_single_values(info.annotation) if kind != "choice" else (),
    )


def _without_none(annotation: Any) -> tuple[Any, bool]:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        nullable = len(rest) < len(get_args(annotation))
        return _without_none(rest[0])[0], nullable
    return annotation, False


def _single_values(annotation: Any) -> tuple[Any, ...]:
    """The values of a `Literal` that stands beside a kind."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()
    return tuple(value for part in parts if get_origin(part) is Literal for value in get_args(part))


def _kind(annotation: Any) -> tuple[Kind, tuple[Any, ...]]:
    if get_origin(annotation) is Literal:
        return "choice", get_args(annotation)
    simple: dict[Any, Kind] = {bool: "bool", int: "int", float: "float", str: "str", Path: "path"}
    return simple.get(annotation, "list"), ()


def _bounds(found: Mapping[type, Any], kind: Kind) -> tuple[float | None, float | None]:
    """Finite search bounds from validation bounds; an open end is moved inside by the smallest useful step."""
    step = 1.0 if kind == "int" else 1e-9
    low = high = None
    if annotated_types.Ge in found:
        low = float(found[annotated_types.Ge].ge)
    elif annotated_types.Gt in found:
        low = float(found[annotated_types.Gt].gt) + step
    if annotated_types.Le in found:
        high = float(found[annotated_types.Le].le)
    elif annotated_types.Lt in found:
        high = float(found[annotated_types.Lt].lt) - step
    return low, high


def _constraint(found: Mapping[type, Any]) -> str:
    signs = {"Ge": ("ge", "≥"), "Gt": ("gt", ">"), "Le": ("le", "≤"), "Lt": ("lt", "<")}
    words = []
    for kind, item in found.items():
        if kind.__name__ in signs:
            attribute, sign = signs[kind.__name__]
            words.append(f"{sign} {getattr(item, attribute):g}")
    return ", ".join(words)
