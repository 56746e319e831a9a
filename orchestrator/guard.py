"""What a command does with errors: one message, an exit status, no traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable

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
        typer.echo(f"error: {error}", err=True)
        outcome = 2 if error.kind in ("config", "data") else 1
    except OSError as error:
        if debug:
            raise
        advice = "; make room, and the same command carries on" if no_room(error) else ""
        typer.echo(f"error: {error.filename or 'a file'}: {error.strerror or error}{advice}", err=True)
        outcome = 1
    raise typer.Exit(outcome)
