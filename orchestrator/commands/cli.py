"""The command line, `python -m orchestrator`: every command with its arguments."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from orchestrator.commands.flags import Debug, RequestCommand, Start, StudyDir, ViewName, request_parameters
from orchestrator.planning.arguments import Request
from trainer.api import ConfigError, Problem, guarded

if TYPE_CHECKING:
    from orchestrator.output.views import View

app = typer.Typer(
    add_completion=False,
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Budgeted hyperparameter search: python -m orchestrator run trials.json --budget-epochs 5",
)


def _command(work: Callable[..., int | None]) -> None:
    """Adds a command: name, help, arguments and options are those of `work`, which returns the exit status.

    Each command also has `--debug`. A first parameter of type `Request` stands for an option per field of it.
    """
    own = list(inspect.signature(work, eval_str=True).parameters.values())
    takes_request = own[0].annotation is Request

    def command(debug: bool, **values: Any) -> None:
        def status() -> int:
            if takes_request:
                extras = {parameter.name: values.pop(parameter.name) for parameter in own[1:]}
                return work(Request(**values), **extras) or 0
            return work(**values) or 0

        raise typer.Exit(guarded(status, debug))

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [*request_parameters(), *own[1:]] if takes_request else own
    parameters = [parameter.replace(kind=keyword) for parameter in parameters]
    parameters.append(inspect.Parameter("debug", keyword, default=False, annotation=Debug))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    kind = RequestCommand if takes_request else None
    app.command(work.__name__, help=work.__doc__, cls=kind)(command)


def _begin_slots() -> None:
    """For a command that trains: starts the server that slots are copied from, before the command's own imports."""
    from orchestrator.slots.local import begin

    begin()


@_command
def run(
    request: Request,
    force: Annotated[bool, typer.Option("--force", help="continue although the data changed")] = False,
    view: ViewName = "auto",
) -> int:
    """Plan, search, report, promote. The same command again continues the study."""
    _begin_slots()
    from orchestrator.commands.run import run

    return run(request, _view(view), force)


@_command
def plan(
    request: Request,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="time a few training steps on every rung for the estimate")
    ] = False,
) -> None:
    """Check everything and print what the study will cost. Trains nothing."""
    from orchestrator.commands.plan import make_offer, offer_lines

    offer = make_offer(request, measure)
    for line in [json.dumps(offer.plain(), indent=2)] if as_json else offer_lines(offer):
        typer.echo(line)


@_command
def status(study_dir: StudyDir) -> None:
    """Show the state of a study."""
    from orchestrator.commands.status import show_status

    show_status(study_dir.absolute(), Console(highlight=False, markup=False, emoji=False))


@_command
def report(study_dir: StudyDir) -> None:
    """Write trials.csv, metrics.csv and report.html again, from the study alone."""
    from orchestrator.commands.report import report

    typer.echo(str(report(study_dir.absolute())))


@_command
def dashboard(
    study_dir: StudyDir,
    port: Annotated[int, typer.Option(help="port on this machine")] = 8080,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
) -> None:
    """Start the Optuna dashboard on a study."""
    from orchestrator.commands.dashboard import serve_dashboard

    serve_dashboard(study_dir.absolute(), host, port, lambda line: typer.echo(line, err=True))


@_command
def promote(
    study_dir: StudyDir,
    top: Annotated[int, typer.Option(help="number of trials to promote, best first", min=1)] = 1,
    seeds: Annotated[int, typer.Option(help="number of seeds for each", min=1)] = 1,
    start: Annotated[Start, typer.Option("--from", help="start from new weights or from checkpoints")] = Start.scratch,
    view: ViewName = "auto",
) -> int:
    """Train the best trials at the full budget."""
    _begin_slots()
    from orchestrator.commands.promote import promote

    return promote(study_dir.absolute(), top, seeds, _view(view), start is Start.checkpoint)


@_command
def retry(
    study_dir: StudyDir,
    failed: Annotated[bool, typer.Option("--failed", help="retry failed trials and promoted runs (required)")] = False,
    view: ViewName = "auto",
) -> int:
    """Try failed trials and promoted runs once more, from their checkpoints."""
    if not failed:
        raise ConfigError([Problem("retry", "name what to retry: --failed")])
    _begin_slots()
    from orchestrator.commands.retry import retry

    return retry(study_dir.absolute(), _view(view))


@_command
def close(study_dir: StudyDir) -> int:
    """End a study: no more trials; what is paused becomes pruned."""
    from orchestrator.commands.close import close

    return close(study_dir.absolute(), _view("plain"))


def _view(name: str) -> View:
    from orchestrator.output.views import make_view

    return make_view(name)


def main() -> None:
    app(prog_name="python -m orchestrator")
