"""`python -m orchestrator`: arguments in, words out."""

from __future__ import annotations

import inspect
import json
import logging
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from orchestrator.flags import Debug, Start, StudyDir, request_of
from orchestrator.options import Request
from trainer.api import ConfigError, Problem, TrainingError, no_room

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Budgeted hyperparameter search: python -m orchestrator run trials.json --budget-epochs 5",
)


_EXTRAS: dict[str, dict[str, Any]] = {
    "run": {"force": typer.Option("--force", help="go on although the data changed")},
    "plan": {
        "json": typer.Option("--json", help="as JSON"),
        "measure": typer.Option("--measure", help="time a few steps on every rung for the estimate"),
    },
}


def _takes_request(work: Callable[[Request, Mapping[str, bool]], int], name: str, meaning: str) -> None:
    """Adds a command with the arguments of `request_of`, so that `run` and `plan` cannot drift apart."""
    hints = typing.get_type_hints(request_of, include_extras=True)
    hints.pop("return")

    def command(**values: Any) -> None:
        debug, extras = values.pop("debug"), {key: values.pop(key) for key in _EXTRAS[name]}
        _guarded(lambda: work(request_of(**values), extras), debug)

    flags = {**{key: Annotated[bool, option] for key, option in _EXTRAS[name].items()}, "debug": Debug}
    own = list(inspect.signature(request_of).parameters.values())
    more = [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=False) for key in flags]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + more
    annotated = {**hints, **flags}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(annotation=annotated[parameter.name]) for parameter in parameters]
    )
    command.__annotations__ = annotated
    app.command(name, help=meaning)(command)


def _run(request: Request, extras: Mapping[str, bool]) -> int:
    from orchestrator import commands  # opens databases and draws reports; `plan` needs neither

    return commands.run(request, _console(), extras["force"])


def _plan(request: Request, extras: Mapping[str, bool]) -> int:
    from orchestrator.offer import make_offer, offer_lines

    offer = make_offer(request, extras["measure"])
    if extras["json"]:
        typer.echo(json.dumps(offer.plain(), indent=2))
    else:
        for line in offer_lines(offer):
            typer.echo(line)
    return 0


_takes_request(_run, "run", "Plan, search, report, promote; the same command again carries on.")
_takes_request(_plan, "plan", "Check everything and say what it will cost; runs nothing.")


@app.command()
def status(study_dir: StudyDir, debug: Debug = False) -> None:
    """Show where a study stands."""

    def work() -> int:
        from orchestrator.status import show_status

        show_status(study_dir.absolute(), Console(highlight=False))
        return 0

    _guarded(work, debug)


@app.command()
def report(study_dir: StudyDir, debug: Debug = False) -> None:
    """Write trials.csv, metrics.csv and report.html again, from the study alone."""

    def work() -> int:
        from orchestrator import commands

        typer.echo(str(commands.report(study_dir.absolute())))
        return 0

    _guarded(work, debug)


@app.command()
def dashboard(
    study_dir: StudyDir,
    port: Annotated[int, typer.Option(help="port on this machine")] = 8080,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    debug: Debug = False,
) -> None:
    """Start the Optuna dashboard on a study."""

    def work() -> int:
        from orchestrator.dashboard import serve_dashboard

        serve_dashboard(study_dir.absolute(), host, port, lambda line: typer.echo(line, err=True))
        return 0

    _guarded(work, debug)


@app.command()
def promote(
    study_dir: StudyDir,
    top: Annotated[int, typer.Option(help="so many of the best", min=1)] = 1,
    seeds: Annotated[int, typer.Option(help="in so many seeds each", min=1)] = 1,
    start: Annotated[Start, typer.Option("--from", help="fresh weights, or those that the search has trained")] = (
        Start.scratch
    ),
    debug: Debug = False,
) -> None:
    """Train the best trials at the full budget."""

    def work() -> int:
        from orchestrator import commands

        return commands.promote(study_dir.absolute(), top, seeds, _console(), start is Start.checkpoint)

    _guarded(work, debug)


@app.command()
def retry(
    study_dir: StudyDir,
    failed: Annotated[
        bool, typer.Option("--failed", help="the failed trials (required: nothing else is retried)")
    ] = False,
    debug: Debug = False,
) -> None:
    """Try failed trials once more, from their checkpoints."""

    def work() -> int:
        from orchestrator import commands

        if not failed:
            raise ConfigError([Problem("retry", "say which trials: --failed")])
        return commands.retry(study_dir.absolute(), _console())

    _guarded(work, debug)


@app.command("close")
def close_study(study_dir: StudyDir, debug: Debug = False) -> None:
    """End a study: no more trials; what is paused becomes pruned."""

    def work() -> int:
        from orchestrator import commands

        return commands.close(study_dir.absolute(), _console())

    _guarded(work, debug)


def _console() -> Console:
    return Console(stderr=True, highlight=False)


def _guarded(work: Callable[[], int], debug: bool) -> None:
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


def main() -> None:
    app(prog_name="python -m orchestrator")
