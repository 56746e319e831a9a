"""Lists of named transforms in a configuration: reading, one canonical form, checks. Imports no torch.

An entry is a name, `RandomHorizontalFlip`, or a name with arguments, in either of two forms:
`{RandomRotation: {degrees: 15}}` or `{name: RandomRotation, degrees: 15}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from trainer.data.library_models import transform_arguments, unfit
from trainer.errors import did_you_mean

TRANSFORM_LISTS = ("pre_transforms", "train_augmentations", "val_augmentations", "post_transforms")
NESTED = "transforms"  # the argument of RandomApply, RandomChoice, RandomOrder and Compose: a list again


def parts_of_entry(entry: Any) -> tuple[str, Mapping[str, Any]]:
    """Name and arguments of an entry; `ValueError` where it has neither form."""
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping):
        if isinstance(entry.get("name"), str):
            return entry["name"], {key: value for key, value in entry.items() if key != "name"}
        if len(entry) == 1:
            name, arguments = next(iter(entry.items()))
            if isinstance(name, str) and (arguments is None or isinstance(arguments, Mapping)):
                return name, arguments or {}
    raise ValueError(f"{entry!r} is not a transform: write a name, or {{name: {{argument: value}}}}")


def _canonical(value: Any) -> Any:
    """A list of entries in one form; `ValueError` with all mistakes in it."""
    if not isinstance(value, list | tuple):
        return value  # pydantic reports what it should be
    wrong = list(_mistakes(value))
    if wrong:
        raise ValueError("; ".join(wrong))
    return tuple(_canonical_entry(entry) for entry in value)


def _canonical_entry(entry: Any) -> Any:
    name, arguments = parts_of_entry(entry)
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in arguments.items()}
    if NESTED in plain:
        plain[NESTED] = [_canonical_entry(inner) for inner in plain[NESTED]]
    return {name: plain} if plain else name


def _mistakes(entries: Any) -> Iterator[str]:
    for number, entry in enumerate(entries, start=1):
        yield from (f"entry {number}: {mistake}" for mistake in _mistakes_of_entry(entry))


def _mistakes_of_entry(entry: Any) -> Iterator[str]:
    known = transform_arguments()
    try:
        name, arguments = parts_of_entry(entry)
    except ValueError as error:
        yield str(error)
        return
    if name not in known:
        why = unfit(name)
        yield f"{name} {why}" if why else f"unknown transform {name}{did_you_mean(name, known)}"
        return
    takes = known[name]
    for argument in arguments:
        if argument not in takes:
            yield f"{name} takes no {argument}, only {', '.join(takes) or 'no arguments at all'}"
    yield from (f"{name} needs {argument}" for argument in takes if takes[argument] and argument not in arguments)
    if NESTED in arguments and NESTED in takes:
        inner = arguments[NESTED]
        if isinstance(inner, list | tuple):
            yield from (f"{name}: {mistake}" for mistake in _mistakes(inner))
        else:
            yield f"{name}: {NESTED} must be a list"


TransformList = Annotated[tuple[Any, ...], BeforeValidator(_canonical)]
