"""Python imports this file at start-up of every process of a study under test; it makes exact moments for faults.

`RUNGWISE_PAUSE` = "module:function:number" holds the numbered call of a function for up to a minute, once for a
folder of marks (`RUNGWISE_PAUSE_DIR`), in one process of however many come to it: a file `paused-0` there says that
the moment has come, and which process is held; it goes on when there is a file `go`. "module:function:number:after"
holds it when the call has returned. Several are separated by spaces, each for another module, with marks `paused-1`,
`paused-2` and so on. Nothing else is changed: what runs on either side of a pause is the real program.

`RUNGWISE_NO_MEMORY` = "module:function:largest:number" has a method raise PyTorch's out-of-memory error in each call
from the numbered one on whose first argument holds more than `largest` samples.
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import time
from pathlib import Path

HOLD_SECONDS = 60.0


def _claimed(mark):
    """Whether the moment is this process's: of several that come to it at once, slots of one study say, one is held.

    A link is made whole or not at all, and never over another's: who sees the mark can read the process in it.
    """
    own = mark.with_name(f"{mark.name}.{os.getpid()}")
    own.write_text(str(os.getpid()))
    try:
        os.link(own, mark)
    except FileExistsError:
        return False
    finally:
        own.unlink()
    return True


def _held(function, number, after, mark):
    calls = 0

    def hold():
        if not _claimed(mark):
            return
        deadline = time.monotonic() + HOLD_SECONDS
        while time.monotonic() < deadline and not (mark.parent / "go").exists():
            time.sleep(0.02)

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        nonlocal calls
        calls += 1
        due = calls == number
        if due and not after:
            hold()
        result = function(*args, **kwargs)
        if due and after:
            hold()
        return result

    return wrapper


def _short_of_memory(function, largest, number):
    calls = 0

    @functools.wraps(function)
    def wrapper(self, samples, *args, **kwargs):
        nonlocal calls
        calls += 1
        if calls >= number and len(samples) > largest:
            import torch

            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return function(self, samples, *args, **kwargs)

    return wrapper


class _Finder(importlib.abc.MetaPathFinder):
    """Lets the real finders find one module, and wraps a function in it once it has been executed."""

    def __init__(self, module, path, wrap):
        self.module, self.path, self.wrap = module, path, wrap

    def find_spec(self, name, path, target=None):
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            owner = module
            *owners, last = self.path.split(".")
            for part in owners:
                owner = getattr(owner, part)
            setattr(owner, last, self.wrap(getattr(owner, last)))

        spec.loader.exec_module = exec_module
        return spec


for _place, _words in enumerate(os.environ.get("RUNGWISE_PAUSE", "").split()):
    _module, _path, _number, *_after = _words.split(":")
    _mark = Path(os.environ["RUNGWISE_PAUSE_DIR"]) / f"paused-{_place}"
    sys.meta_path.insert(
        0, _Finder(_module, _path, functools.partial(_held, number=int(_number), after=bool(_after), mark=_mark))
    )

for _words in os.environ.get("RUNGWISE_NO_MEMORY", "").split():
    _module, _path, _largest, _number = _words.split(":")
    _wrap = functools.partial(_short_of_memory, largest=int(_largest), number=int(_number))
    sys.meta_path.insert(0, _Finder(_module, _path, _wrap))
