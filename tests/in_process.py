"""Commands in this process: what `python -m orchestrator …` does, without the seconds in which a new one imports.

The fork server that slots are copied from is started once and then shared by all commands of a test process.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple
from unittest import mock

MAINS = {"orchestrator": "orchestrator.commands.cli", "trainer": "trainer.cli.commands"}


class Done(NamedTuple):
    """How a command ended: its exit status, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def command(
    module: str,
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    path: Sequence[Path] = (),
) -> Done:
    """Runs `python -m module words…` in a folder; `path` is what `PYTHONPATH` would add."""
    from orchestrator.slots.local import begin

    if module == "orchestrator":
        begin()  # before the folder changes: the server must not live in a test's own folder
    main = import_module(MAINS[module]).main
    out, err = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(err)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(mock.patch.dict(os.environ, environment or {}))
        stack.enter_context(mock.patch.object(sys, "path", [*map(str, path), *sys.path]))
        stack.enter_context(mock.patch.object(sys, "argv", [module, *words]))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        logging.getLogger().addHandler(handler)
        stack.callback(logging.getLogger().removeHandler, handler)
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return Done(status, out.getvalue(), err.getvalue())
