"""The commands of `python -m trainer`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from trainer import api
from trainer.cli.console import RunConsole
from trainer.cli.tables import growing_table, with_image_files
from trainer.config.describe import canonical_yaml, commented_yaml, configuration_markdown
from trainer.errors import ConfigError, DataError, Problem, TrainingError, guarded
from trainer.store.locks import sole_run

# Options by the names of other programs; with underscores each is understood, too.
_OPTIONS = {"config-filename": "config", "config_filename": "config"}
app = typer.Typer(
    add_completion=False,
    context_settings={"token_normalize_func": lambda name: _OPTIONS.get(name, name.replace("_", "-"))},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Trains one configuration: python -m trainer --config FILE [key=value …]",
)

Assignments = Annotated[list[str] | None, typer.Argument(help="dotted overrides, key=value", show_default=False)]
Checkpoint = Annotated[Path, typer.Option("--checkpoint", help="a .pth file of a run")]
Debug = Annotated[bool, typer.Option("--debug", help="show tracebacks")]


@app.command()
def train(
    config: Annotated[Path, typer.Option("--config", help="configuration file (YAML)")],
    assignments: Assignments = None,
    resume: Annotated[Path | None, typer.Option(help="= checkpoint.resume")] = None,
    subset_size: Annotated[int | None, typer.Option(help="= training.subset_size")] = None,
    overfit: Annotated[bool, typer.Option("--overfit", help="= training.overfit=true")] = False,
    max_iter: Annotated[int | None, typer.Option(help="= training.max_iter")] = None,
    eval_interval: Annotated[int | None, typer.Option(help="= training.eval_interval")] = None,
    force: Annotated[bool, typer.Option("--force", help="resume although the data have changed")] = False,
    debug: Debug = False,
) -> None:
    """Train one configuration; the default command."""
    flags = {
        "checkpoint.resume": str(resume) if resume else None,
        "training.subset_size": subset_size,
        "training.overfit": overfit or None,
        "training.max_iter": max_iter,
        "training.eval_interval": eval_interval,
    }

    def work() -> int:
        overrides = api.parse_assignments(assignments or ())
        given = {key: value for key, value in flags.items() if value is not None}
        if twice := sorted(overrides.keys() & given.keys()):
            raise ConfigError([Problem(key, "is set by an option and by key=value") for key in twice])
        settings = api.load_config(config, overrides, given)
        notes = api.assumptions(api.read_config_file(config), settings.task, overrides, block=True)
        return _train(settings, notes, force, debug)

    _ends_with(work, debug)


@app.command("config")
def show_config(
    words: Annotated[
        list[str] | None, typer.Argument(help="TASK, or package.module:object; with --from: task=NAME, key=value")
    ] = None,
    source: Annotated[Path | None, typer.Option("--from", help="an older file, printed in canonical form")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="as a page: the tasks named, or all, as docs/configuration.md")
    ] = False,
    debug: Debug = False,
) -> None:
    """Print every key of a task as commented YAML, or an older file in canonical form."""

    def work() -> int:
        if markdown:
            named = [api.task_of({"task": word}) for word in words or api.tasks()]
            typer.echo(configuration_markdown(named), nl=False)
            return 0
        if source is not None:
            overrides = api.parse_assignments(words or ())
            api.load_config(source, overrides)  # what cannot be trained is not printed, but refused with its place
            typer.echo(canonical_yaml(api.read_config_file(source), overrides), nl=False)
            return 0
        if not words or len(words) != 1:
            raise ConfigError([Problem("config", f"name one task: {', '.join(api.tasks())}")])
        typer.echo(commented_yaml(api.task_of({"task": words[0]})), nl=False)
        return 0

    _ends_with(work, debug)


@app.command("data")
def show_data(
    config: Annotated[Path, typer.Argument(help="configuration file (YAML)")],
    assignments: Assignments = None,
    output: Annotated[Path, typer.Option(help="the page to write")] = Path("data.html"),
    debug: Debug = False,
) -> None:
    """Show what would be trained on: counts, sizes, warnings, and a page of images as the model gets them."""

    def work() -> int:
        settings = api.load_config(config, api.parse_assignments(assignments or ()))
        with RunConsole(settings.training.epochs) as console:
            text = api.show_data(settings, output, console.preparing)
        typer.echo(f"{text}\nimages as the model gets them: {output}")
        return 0

    _ends_with(work, debug)


@app.command()
def evaluate(
    checkpoint: Checkpoint,
    assignments: Assignments = None,
    split: Annotated[
        str, typer.Option(help="val: the run's validation images; all: every image; auto: all on other data")
    ] = "auto",
    debug: Debug = False,
) -> None:
    """Print the metrics of a checkpoint on its own data or, with data.…=…, on another."""

    def work() -> int:
        if split not in ("auto", "val", "all"):
            raise ConfigError([Problem("--split", f"must be auto, val or all, not {split!r}")])
        overrides = api.parse_assignments(assignments or ())
        metrics = api.evaluate(checkpoint, overrides, None if split == "auto" else split == "all")
        typer.echo(json.dumps(dict(metrics)))
        return 0

    _ends_with(work, debug)


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(help="a folder of images; of prompts (*.txt) where images are made")],
    checkpoint: Checkpoint,
    assignments: Assignments = None,
    output: Annotated[
        Path | None,
        typer.Option(help="CSV to write; without it, stdout. A cell that a spreadsheet would run begins with '"),
    ] = None,
    debug: Debug = False,
) -> None:
    """Predict for a folder of images, as CSV; images that are made lie in a folder named like it, or predictions/."""

    def work() -> int:
        if output is not None and (output.is_dir() or not output.parent.is_dir()):
            what = f"{output} is a folder; name a file" if output.is_dir() else f"{output.parent}: no such folder"
            raise ConfigError([Problem("--output", what)])
        pictures = output.with_suffix("") if output is not None else Path("predictions")
        predictions = api.predict(checkpoint, folder, api.parse_assignments(assignments or ()))
        with growing_table(output) as table:
            for row in predictions:
                table.add(with_image_files(row, table.rows + 1, pictures))
        if not table.rows:
            raise DataError(f"{folder}: nothing in it to predict for")
        return 0

    _ends_with(work, debug)


def _train(config: api.RunConfig, notes: Sequence[str], force: bool, debug: bool) -> int:
    """Trains to the end and prints progress; an error before the first step is left to the caller."""
    summary = api.check_data(config)
    with sole_run(config.checkpoint.dir), RunConsole(config.training.epochs) as console, _Signals() as stop:
        for line in (*notes, summary.words, *summary.notes, *(f"warning: {each}" for each in summary.warnings)):
            console.say(line)
        api.prepare_data(config, console.preparing)
        hooks = api.Hooks(
            console.report,
            console.heartbeat,
            should_stop=lambda: stop.number is not None,
            say=console.say,
            stepped=console.stepped,
        )
        session = api.open_session(config, hooks, force=force)
        stop.at_once = False
        try:
            outcome = session.train(config.training.epochs, hooks)
        except TrainingError as error:
            if debug:
                raise
            typer.echo(f"error: {error}", err=True)
            return 1
        finally:
            session.close()
        if outcome.ending == "interrupted" and stop.number is not None:
            goes_on = f"continue with --resume {outcome.checkpoint}" if config.checkpoint.save else "nothing was saved"
            console.say(f"stopped in epoch {outcome.epoch + 1}; {goes_on}")
            return 128 + stop.number
        console.say(_ended(outcome, config))
    return 0


def _ended(outcome: api.Outcome, config: api.RunConfig) -> str:
    early = f"stopped early: {outcome.reason}\n" if outcome.ending == "early" else ""
    where = f"checkpoints in {config.checkpoint.dir}" if config.checkpoint.save else "no checkpoints (checkpoint.save)"
    return f"{early}done: {outcome.epoch} epochs, {outcome.step} steps in {outcome.seconds:.0f} s, {where}"


class _Signals:
    """Handles SIGTERM and Ctrl-C: the first asks the run to stop at its next step, a second Ctrl-C ends it at once.

    Before there is anything to save, the first signal ends it at once, too.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.at_once = True
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._asked)
        return self

    def _asked(self, number: int, _: FrameType | None) -> None:
        if self.at_once or (self.number is not None and number == signal.SIGINT):
            raise SystemExit(128 + number)
        self.number = number

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _ends_with(work: Callable[[], int], debug: bool) -> NoReturn:
    raise typer.Exit(guarded(work, debug))


def main() -> None:
    """Runs a command; `train` where none is named."""
    # Threads that wait actively take time from other users of the cores; torch reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = sys.argv[1:]
    commands = {"train", "config", "data", "evaluate", "predict", "--help"}
    app(
        args=arguments if not arguments or arguments[0] in commands else ["train", *arguments],
        prog_name="python -m trainer",
    )
