"""Sessions: runs kept in memory between calls. Importing this file imports no torch."""

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
            raise DataError(_without_traceback(str(error))) from None

    def climb(self, config: RunConfig, rung: int) -> None:
        """Continues under the configuration of a higher rung: other images, another size, more epochs."""
        self.run.climb(config, rung)

    def close(self) -> None:
        self.run.close()
        self.writer.close()


def open_session(
    config: RunConfig,
    hooks: Hooks,
    rung: int = 1,
    resume: bool = False,
    free: tuple[str, ...] = (),
    force: bool = False,
) -> Session:
    """A run ready to train: from `checkpoint.resume`, with `resume` from its own folder, else from its first epoch,
    with fresh weights or those of `checkpoint.weights`.

    `rung` counts from 1 and is written beside each evaluation; on a higher one than the checkpoint's, subset and
    size may differ. `free` are further keys that may differ from the checkpoint's; with `force` its data may be others,
    too, which is said. A damaged checkpoint is reported through `hooks.say`, and the one before it is used.
    """
    from trainer.checkpoints.files import load_checkpoint, load_newest
    from trainer.run.resume import load_for_resume, taken_along
    from trainer.run.run import open_run
    from trainer.run.writer import RunWriter

    loaded = None
    if config.checkpoint.resume is not None:
        loaded = load_for_resume(config.checkpoint.resume)
    elif resume:
        loaded = load_newest(config.checkpoint.dir)
    state, source, damaged = loaded or (None, None, ())
    weights = None
    if state is None and config.checkpoint.weights is not None:
        weights = load_checkpoint(config.checkpoint.weights)
        hooks.say(f"starts from the weights of {config.checkpoint.weights}")
    for line in damaged:
        hooks.say(f"warning: {line}")
    if state is not None:
        hooks.say(f"continues from {source} (epoch {state['progress']['epoch']})")
    run = open_run(config, state, rung, hooks.say, free, hooks.preparing, weights, force)
    along = taken_along(run, source, hooks.say) if source else {}
    writer = RunWriter(config, run.history, source, along)
    if writer.replaced:
        hooks.say(writer.replaced)
    return Session(run, writer)


def _without_traceback(message: str) -> str:
    """The message of an error from a loading process, which comes with a traceback: its last line."""
    if "Original Traceback" not in message:
        return message
    return re.sub(r"^[\w.]+: ", "", message.strip().splitlines()[-1])
