"""The keys of a configuration: every dotted key with its kind, bounds, default, meaning and roles.

Read off the typed configuration, so that each is declared once. Imports no torch.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trainer.config.registry import find_task, load
from trainer.config.section import SECTION_ROLES, Role
from trainer.config.settings import RunConfig

Kind = Literal["float", "int", "bool", "str", "choice", "path", "list"]
_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


@dataclass(frozen=True)
class Key:
    """One dotted key. `low` and `high` bound a search; `log` says that it is searched on a log scale.

    `also` are single values beside the kind: `model.pretrained` is a text or false. `roles` say what the key is to a
    study and to a run (`trainer/config/section.py`).
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
    roles: frozenset[Role] = frozenset()


def dotted(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(dotted(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


@cache
def config_class(task: str) -> type[RunConfig]:
    """The configuration class of a task; `KeyError` for an unknown one, `ConfigError` for a broken one."""
    cls: type[RunConfig] = load(find_task(task).config)
    return cls


@cache
def known_keys(task: str) -> Mapping[str, Key]:
    """Every dotted key of a task's configuration, in the order of the schema."""
    return dict(_walk(config_class(task), "", frozenset()))


@cache
def sections(task: str) -> Mapping[str, bool]:
    """Every dotted section of a task's configuration → whether it may be null."""
    return dict(_walk_sections(config_class(task), ""))


def roles_of(task: str, key: str) -> frozenset[Role]:
    """The roles of a dotted key; of a name that is no key (a section, or an older file's key), those of its section."""
    known = known_keys(task).get(key)
    if known is not None:
        return known.roles
    model: type[BaseModel] = config_class(task)
    roles: frozenset[Role] = frozenset()
    parts = key.split(".")
    for depth, name in enumerate(parts):
        info = model.model_fields.get(name)
        section = section_class(info.annotation) if info is not None else None
        if section is None:
            return roles | (SECTION_ROLES.get(name, frozenset()) if depth == 0 else frozenset())
        model, roles = section, roles | _section_roles(section, name, depth == 0)
    return roles


def cheap_evaluation(task: str) -> Mapping[str, Any]:
    """Overrides that make a task's evaluation cheap, for where many runs are only compared with each other."""
    cheap: Mapping[str, Any] = load(find_task(task).files).CHEAP_EVALUATION
    return cheap


def loss_keys(task: str) -> Sequence[str]:
    """The keys in which runs may not differ if their losses are compared."""
    return [path for path, key in known_keys(task).items() if "loss" in key.roles]


def redefines_loss(task: str, key: str) -> bool:
    """Whether losses of two runs of a task that differ in this key cannot be compared."""
    return "loss" in roles_of(task, key)


def reads_data(task: str, key: str) -> bool:
    """Whether `check_data` may give another result where this key differs: it names a file, or how files are read."""
    known = known_keys(task)[key]
    return known.kind == "path" or "data" in known.roles


def conditions(task: str) -> Sequence[str]:
    """The keys of the budget that say which images a run sees, and at which size: those that a higher rung changes."""
    return [path for path, key in known_keys(task).items() if "budget" in key.roles and "resume" not in key.roles]


def section_class(annotation: Any) -> type[BaseModel] | None:
    """The section behind a field's annotation, also behind `Section | None`; None for a value."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _walk_sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, bool]]:
    for name, info in model.model_fields.items():
        section = section_class(info.annotation)
        if section is not None:
            yield prefix + name, type(None) in get_args(info.annotation)
            yield from _walk_sections(section, f"{prefix}{name}.")


def _walk(model: type[BaseModel], prefix: str, roles: frozenset[Role]) -> Iterator[tuple[str, Key]]:
    for name, info in model.model_fields.items():
        section = section_class(info.annotation)
        if section is not None:
            yield from _walk(section, f"{prefix}{name}.", roles | _section_roles(section, name, not prefix))
        else:
            yield prefix + name, _key(prefix + name, info, roles | _own_roles(model, name))


def _section_roles(section: type[BaseModel], name: str, at_top: bool) -> frozenset[Role]:
    """The roles that a section gives its keys: those of its class, or else those of its name."""
    declared: frozenset[Role] | None = getattr(section, "ROLES", None)
    if declared is None:
        return SECTION_ROLES.get(name, frozenset()) if at_top else frozenset()
    return declared


def _own_roles(model: type[BaseModel], name: str) -> frozenset[Role]:
    """The roles that a key is declared with, here or in a class that this one narrows."""
    fields = (base.model_fields.get(name) for base in model.__mro__ if issubclass(base, BaseModel))
    extras = (field.json_schema_extra for field in fields if field is not None)
    return frozenset(
        role for extra in extras if isinstance(extra, dict) for role in cast(list[Role], extra.get("roles", []))
    )


def _key(path: str, info: FieldInfo, roles: frozenset[Role]) -> Key:
    annotation, nullable = _without_none(info.annotation)
    kind, choices = _kind(annotation)
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    bounds = {name: float(getattr(item, name)) for item in info.metadata for name in _SIGNS if hasattr(item, name)}
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
        constraint=", ".join(f"{_SIGNS[name]} {bound:g}" for name, bound in bounds.items()),
        also=_single_values(info.annotation) if kind != "choice" else (),
        roles=roles,
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


def _bounds(bounds: Mapping[str, float], kind: Kind) -> tuple[float | None, float | None]:
    """Finite search bounds from validation bounds; an open bound is moved inwards by the smallest useful step."""
    step = 1.0 if kind == "int" else 1e-9
    low = bounds["gt"] + step if "gt" in bounds else bounds.get("ge")
    high = bounds["lt"] - step if "lt" in bounds else bounds.get("le")
    return low, high
