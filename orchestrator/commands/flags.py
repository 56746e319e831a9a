"""The arguments of commands, in the form that the command line library takes."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from orchestrator.planning.arguments import FIELDS, Option, Request, flag

StudyDir = Annotated[Path, typer.Argument(help="folder of a study, such as outputs/quickstart")]
Debug = Annotated[bool, typer.Option("--debug", help="show tracebacks")]
ViewName = Annotated[
    str,
    typer.Option(
        "--view",
        help=(
            "what is shown: live, a table (default on a terminal); plain, a line per evaluation and decision; "
            "quiet, only warnings and failures; json, one JSON object per line on stdout"
        ),
    ),
]


class RequestCommand(TyperCommand):
    """A command whose first argument, the trials file, may also be an option, `--trials-file FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_trials_first(args)))


def _trials_first(args: Sequence[str]) -> Iterator[str]:
    """The arguments with the value of `--trials-file` in front of the others, and without the option."""
    rest: list[str] = []
    words = iter(args)
    for word in words:
        name, sign, value = word.partition("=")
        if name.replace("_", "-") != "--trials-file":
            rest.append(word)
        elif file := value if sign else next(words, ""):
            yield file
    yield from rest


class Start(StrEnum):
    """Where a promoted run starts."""

    scratch = "scratch"
    checkpoint = "checkpoint"


def request_parameters() -> list[inspect.Parameter]:
    """A parameter of a command for every field of `Request`."""
    kinds = typing.get_type_hints(Request)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=Annotated[kinds[field.name], _parameter(field.name, field.metadata["option"])],
        )
        for field in FIELDS
    ]


def _parameter(name: str, option: Option) -> Any:
    if name in ("trials", "assignments"):
        return typer.Argument(help=option.help, show_default=False)
    return typer.Option(flag(name), help=option.help)
