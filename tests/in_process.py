"""Commands in this process: what `python -m orchestrator …` does, without the seconds in which a new one imports.

The fork server that slots are copied from is started once and then shared by all commands of a test process.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
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
    if module == "orchestrator":
        from orchestrator.slots.local import begin

        begin()  # before the folder changes: the server must not live in a test's own folder
    return _run(import_module(MAINS[module]).main, [module, *words], folder, environment or {}, path)


def script(path: Path, words: Sequence[str], folder: Path) -> Done:
    """Runs `python path words…` in a folder."""
    return _run(lambda: runpy.run_path(str(path), run_name="__main__"), [str(path), *words], folder, {}, [path.parent])


def _run(
    main: Callable[[], object], argv: list[str], folder: Path, environment: Mapping[str, str], path: Sequence[Path]
) -> Done:
    out, err = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(err)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(mock.patch.dict(os.environ, environment))
        stack.enter_context(mock.patch.object(sys, "path", [*map(str, path), *sys.path]))
        stack.enter_context(mock.patch.object(sys, "argv", argv))
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
