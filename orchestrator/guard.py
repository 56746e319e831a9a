"""What a command does with errors: one message, an exit status, no traceback."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress

import typer

from trainer.api import TrainingError, no_room


def guarded(work: Callable[[], int], debug: bool) -> None:
    """Runs a command; errors become one message on stderr and an exit status."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        outcome = work()
    except KeyboardInterrupt:
        outcome = 130
    except TrainingError as error:
        if debug:
            raise
        _say(str(error))
        outcome = 2 if error.kind in ("config", "data") else 1
    except OSError as error:
        if debug:
            raise
        advice = "; make room, and the same command carries on" if no_room(error) else ""
        _say(f"{error.filename or 'a file'}: {error.strerror or error}{advice}")
        outcome = 1
    _drop_unwritten()
    raise typer.Exit(outcome)


def _say(words: str) -> None:
    with suppress(OSError):  # no room for words either: the exit status alone says it
        typer.echo(f"error: {words}", err=True)


def _drop_unwritten() -> None:
    """Lets go of words that could not be written: Python would try them again at its end, and exit with 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
