"""A run kept in memory between calls, so that continuing it reloads nothing. Importing it imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.config.settings import RunConfig
from trainer.errors import DataError
from trainer.outcome import Hooks, Outcome

if TYPE_CHECKING:
    from trainer.run.run import Run
    from trainer.run.writer import RunWriter


@dataclass
class Session:
    """A run kept in memory between calls, so that continuing it reloads nothing."""

    run: Run
    writer: RunWriter

    def train(self, until_epoch: int, hooks: Hooks) -> Outcome:
        """Trains on to the end of `until_epoch`."""
        from trainer.run.loop import train_until

        try:
            return train_until(self.run, until_epoch, hooks, self.writer)
        except DataError as error:
            raise DataError(_own_words(str(error))) from None

    def climb(self, config: RunConfig, rung: int) -> None:
        """Goes on under the configuration of a higher rung: other images, another size, more epochs."""
        self.run.climb(config, rung)

    def close(self) -> None:
        self.run.close()
        self.writer.close()


def open_session(
    config: RunConfig, hooks: Hooks, rung: int = 1, resume: bool = False, free: tuple[str, ...] = ()
) -> Session:
    """A run ready to train: from `checkpoint.resume`, with `resume` from its own folder, else from its first epoch,
    with fresh weights or those of `checkpoint.weights`.

    `rung` counts from 1 and is written beside each evaluation; on a higher one than the checkpoint's, subset and
    size may differ. `free` are further keys that may differ from the
    checkpoint's. A damaged checkpoint is said through `hooks.say` and the one before it is used.
    """
    from trainer.checkpoints.files import load_checkpoint, load_newest
    from trainer.run.resume import load_for_resume, taken_along
    from trainer.run.run import open_run
    from trainer.run.writer import RunWriter

    found = None
    if config.checkpoint.resume is not None:
        found = load_for_resume(config.checkpoint.resume)
    elif resume:
        found = load_newest(config.checkpoint.dir)
    state, source = (found[0], found[1]) if found else (None, None)
    weights = None
    if state is None and config.checkpoint.weights is not None:
        weights = load_checkpoint(config.checkpoint.weights)
        hooks.say(f"starts from the weights of {config.checkpoint.weights}")
    for line in found[2] if found else ():
        hooks.say(f"warning: {line}")
    if state is not None:
        hooks.say(f"continues from {source} (epoch {state['progress']['epoch']})")
    run = open_run(config, state, rung, hooks.say, free, hooks.preparing, weights)
    along = taken_along(run, source, hooks.say) if source else {}
    writer = RunWriter(config, run.history, source, along)
    if writer.replaced:
        hooks.say(writer.replaced)
    return Session(run, writer)


def _own_words(message: str) -> str:
    """An error that crossed from a loading process drags its traceback along; its last line is what it said."""
    if "Original Traceback" not in message:
        return message
    return re.sub(r"^[\w.]+: ", "", message.strip().splitlines()[-1])
