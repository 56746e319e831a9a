"""The database of a study: opening it, and waiting for it while it does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, InterfaceError
from sqlalchemy.exc import DatabaseError as SqlError

from trainer.api import ConfigError, Problem, TrainingError

log = logging.getLogger(__name__)
Result = TypeVar("Result")

_BUSY_SECONDS = 5.0  # SQLite itself waits so long and cannot be interrupted; after that `retried` waits
_PATIENCE_SECONDS = 3600.0  # no trial is lost where the database is back within an hour
_OPEN_SECONDS = 120.0  # at the start, a server that does not answer is more likely a mistake


def open_storage(url: str) -> RDBStorage:
    """Optuna's storage at a URL; SQLite in write-ahead mode with a long busy timeout.

    A kill loses nothing. A power cut may lose the last outcome, which the checkpoint still has.
    """
    sqlite = url.startswith("sqlite:///")
    arguments = {"connect_args": {"timeout": _BUSY_SECONDS}} if sqlite else {"pool_pre_ping": True}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if sqlite:
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        storage = retried(lambda: RDBStorage(url, engine_kwargs=arguments), _OPEN_SECONDS)
    except (ImportError, ArgumentError, OSError) as error:
        raise ConfigError([Problem("--storage", f"{url}: {error}")]) from None
    if sqlite:

        @event.listens_for(storage.engine, "connect")
        def _pragmas(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        storage.engine.dispose()  # the connections made so far have the old settings
    return storage


def retried(work: Callable[[], Result], patience_seconds: float = _PATIENCE_SECONDS) -> Result:
    """Does database work; while the database is locked or its server is away, waits and logs one warning."""
    deadline = time.monotonic() + patience_seconds
    pause = 0.1
    while True:
        try:
            return work()
        except (SqlError, InterfaceError, optuna.exceptions.StorageInternalError) as error:
            cause = error.__cause__ or error
            if time.monotonic() > deadline or not _passing(str(cause)):
                raise DatabaseError(
                    f"the study's database cannot be used: {first_line(str(cause))}; {_advice(str(cause))}"
                ) from error
            if pause == 0.1:
                log.warning("the study's database does not answer (%s); trying again", first_line(str(cause)))
            time.sleep(pause)
            pause = min(pause * 2, 5.0)


class DatabaseError(TrainingError):
    """The study's database cannot be used: no space, no permission, no server, or not a database."""


def first_line(message: str) -> str:
    return message.strip().splitlines()[0] if message.strip() else "no reason given"


def _advice(message: str) -> str:
    if any(sign in message for sign in ("malformed", "not a database")):
        return "it is damaged: put a copy in its place; trials.csv and report.html stand as they were last written"
    return "what it recorded before is intact, and the same command continues"


def _passing(message: str) -> bool:
    """Whether a database error may disappear after some time."""
    signs = ("locked", "busy", "connection", "server closed", "terminating", "starting up", "shutting down", "refused")
    return any(sign in message.lower() for sign in signs)
