"""What a configuration is made of: frozen sections of settings, each with its meaning, its bounds and its roles."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

# What a key means to a study and to a run.
Role = Literal[
    "budget",  # a budget sets it: epochs, images, their size
    "study",  # the same for all trials of a study: none may set it
    "place",  # where and how a run keeps its files; nothing that is computed depends on it
    "identity",  # tells runs of one configuration apart
    "resume",  # may change where a run continues from a checkpoint
    "use",  # may change where a trained model is evaluated or predicts
    "data",  # the check of the data reads it, or how they are read
    "loss",  # losses of two runs that differ in it cannot be compared
]
ROLES: frozenset[Role] = frozenset(get_args(Role))
# Sections that a task declares freely, by their name: what their keys are in every task, unless it gives them roles.
SECTION_ROLES: Mapping[str, frozenset[Role]] = {
    "criterion": frozenset({"loss", "use"}),
    "evaluation": frozenset({"use"}),
    "metrics": frozenset({"use"}),
}


def setting(
    default: Any,
    meaning: str,
    *,
    scale: Literal["linear", "log"] = "linear",
    search: tuple[float, float] | None = None,
    role: Role | Sequence[Role] = (),
    **bounds: Any,
) -> Any:
    """A field with its meaning, how it is searched, and its roles beside those of its section.

    `ValueError` for a role that does not exist.
    """
    roles: set[str] = {role} if isinstance(role, str) else set(role)
    if unknown := sorted(roles - ROLES):
        raise ValueError(f"no such role of a key: {', '.join(unknown)}; the roles are {', '.join(sorted(ROLES))}")
    extra: dict[str, Any] = {"scale": scale, "roles": sorted(roles)}
    if search is not None:
        extra["search"] = list(search)
    return Field(default, description=meaning, json_schema_extra=extra, **bounds)


def _absolute(value: Any) -> Any:
    if isinstance(value, str):
        value = Path(value)
    return Path(os.path.abspath(value.expanduser())) if isinstance(value, Path) else value  # noqa: PTH100


def _hub_or_folder(value: str) -> str:
    """A folder's path made absolute; anything else is a hub's name."""
    folder = Path(value).expanduser()
    return str(folder.absolute()) if folder.is_dir() else value


AbsolutePath = Annotated[Path, BeforeValidator(_absolute)]
HubOrFolder = Annotated[str, AfterValidator(_hub_or_folder)]
# For a field that is a tuple: YAML has lists.
AS_TUPLE = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


class Section(BaseModel):
    """A frozen part of a configuration. `ROLES` are those of all its keys and sections, beside what these say."""

    ROLES: ClassVar[frozenset[Role] | None] = None
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
