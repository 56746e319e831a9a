"""`python -m orchestrator`: every command with its arguments."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from orchestrator.commands.flags import Debug, Start, StudyDir, ViewName, request_parameters
from orchestrator.planning.arguments import Request
from trainer.api import ConfigError, Problem, guarded

if TYPE_CHECKING:
    from orchestrator.output.views import View

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Budgeted hyperparameter search: python -m orchestrator run trials.json --budget-epochs 5",
)

# Name → kind with its option, and what it is where it is not said.
_EXTRAS: dict[str, dict[str, tuple[Any, Any]]] = {
    "run": {
        "force": (Annotated[bool, typer.Option("--force", help="continue although the data changed")], False),
        "view": (ViewName, "auto"),
    },
    "plan": {
        "json": (Annotated[bool, typer.Option("--json", help="as JSON")], False),
        "measure": (
            Annotated[bool, typer.Option("--measure", help="time a few training steps on every rung for the estimate")],
            False,
        ),
    },
}


def _takes_request(work: Callable[[Request, Mapping[str, Any]], int], name: str, meaning: str) -> None:
    """Adds a command with the arguments of `Request`, so that `run` and `plan` cannot drift apart."""

    def command(**values: Any) -> None:
        debug, extras = values.pop("debug"), {key: values.pop(key) for key in _EXTRAS[name]}
        _ends_with(lambda: work(Request(**values), extras), debug)

    extra = {**_EXTRAS[name], "debug": (Debug, False)}
    keyword = inspect.Parameter.KEYWORD_ONLY
    more = [inspect.Parameter(key, keyword, default=usual, annotation=kind) for key, (kind, usual) in extra.items()]
    parameters = [*request_parameters(), *more]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(name, help=meaning)(command)


def _begin_slots() -> None:
    """For a command that trains: the server that slots are copied from starts before the command's own imports."""
    from orchestrator.slots.local import begin

    begin()


def _run(request: Request, extras: Mapping[str, Any]) -> int:
    _begin_slots()
    from orchestrator.commands.run import run

    return run(request, _view(extras["view"]), extras["force"])


def _plan(request: Request, extras: Mapping[str, Any]) -> int:
    from orchestrator.commands.plan import make_offer, offer_lines

    offer = make_offer(request, extras["measure"])
    if extras["json"]:
        typer.echo(json.dumps(offer.plain(), indent=2))
    else:
        for line in offer_lines(offer):
            typer.echo(line)
    return 0


_takes_request(_run, "run", "Plan, search, report, promote. The same command again continues the study.")
_takes_request(_plan, "plan", "Check everything and print what the study will cost. Trains nothing.")


@app.command()
def status(study_dir: StudyDir, debug: Debug = False) -> None:
    """Show the state of a study."""

    def work() -> int:
        from orchestrator.commands.status import show_status

        show_status(study_dir.absolute(), Console(highlight=False, markup=False, emoji=False))
        return 0

    _ends_with(work, debug)


@app.command()
def report(study_dir: StudyDir, debug: Debug = False) -> None:
    """Write trials.csv, metrics.csv and report.html again, from the study alone."""

    def work() -> int:

        from orchestrator.commands.report import report

        typer.echo(str(report(study_dir.absolute())))
        return 0

    _ends_with(work, debug)


@app.command()
def dashboard(
    study_dir: StudyDir,
    port: Annotated[int, typer.Option(help="port on this machine")] = 8080,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    debug: Debug = False,
) -> None:
    """Start the Optuna dashboard on a study."""

    def work() -> int:
        from orchestrator.commands.dashboard import serve_dashboard

        serve_dashboard(study_dir.absolute(), host, port, lambda line: typer.echo(line, err=True))
        return 0

    _ends_with(work, debug)


@app.command()
def promote(
    study_dir: StudyDir,
    top: Annotated[int, typer.Option(help="number of trials to promote, best first", min=1)] = 1,
    seeds: Annotated[int, typer.Option(help="number of seeds for each", min=1)] = 1,
    start: Annotated[Start, typer.Option("--from", help="start from new weights or from checkpoints")] = (
        Start.scratch
    ),
    view: ViewName = "auto",
    debug: Debug = False,
) -> None:
    """Train the best trials at the full budget."""

    def work() -> int:
        _begin_slots()
        from orchestrator.commands.promote import promote

        return promote(study_dir.absolute(), top, seeds, _view(view), start is Start.checkpoint)

    _ends_with(work, debug)


@app.command()
def retry(
    study_dir: StudyDir,
    failed: Annotated[bool, typer.Option("--failed", help="retry failed trials and promoted runs (required)")] = False,
    view: ViewName = "auto",
    debug: Debug = False,
) -> None:
    """Try failed trials and promoted runs once more, from their checkpoints."""

    def work() -> int:
        if not failed:
            raise ConfigError([Problem("retry", "name what to retry: --failed")])
        _begin_slots()
        from orchestrator.commands.retry import retry

        return retry(study_dir.absolute(), _view(view))

    _ends_with(work, debug)


@app.command("close")
def close_study(study_dir: StudyDir, debug: Debug = False) -> None:
    """End a study: no more trials; what is paused becomes pruned."""

    def work() -> int:

        from orchestrator.commands.close import close

        return close(study_dir.absolute(), _view("plain"))

    _ends_with(work, debug)


def _ends_with(work: Callable[[], int], debug: bool) -> NoReturn:
    raise typer.Exit(guarded(work, debug))


def _view(name: str) -> View:
    from orchestrator.output.views import make_view

    return make_view(name)


def main() -> None:
    app(prog_name="python -m orchestrator")
