"""What a command does with errors: one message on stderr, an exit status, no traceback."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from trainer.errors import TrainingError, no_room

FAILED, USAGE, CTRL_C = 1, 2, 130


def guarded(work: Callable[[], int], debug: bool) -> int:
    """Does a command's work and returns the exit status; errors become words, unless `debug` asks for tracebacks.

    2 is what was wrong before anything ran: configuration, data, device. The status stands also where there is no room
    for the words.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        status = work()
    except KeyboardInterrupt:
        status = CTRL_C
    except TrainingError as error:
        if debug:
            raise
        _say(str(error))
        status = USAGE if error.kind in ("config", "data") else FAILED
    except BrokenPipeError:
        status = FAILED  # whoever read the words has read enough
    except OSError as error:
        if debug:
            raise
        advice = "; make room, and the same command carries on" if no_room(error) else ""
        _say(f"{error.filename or 'a file'}: {error.strerror or error}{advice}")
        status = FAILED
    _drop_unwritten()
    return status


def _say(words: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"error: {words}\n")


def _drop_unwritten() -> None:
    """Lets go of words that could not be written: Python would try them again at its end, and exit with 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
