"""`python -m orchestrator`: arguments in, words out."""

from __future__ import annotations

import inspect
import json
import logging
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from orchestrator.ladder import Budget
from orchestrator.options import Request
from orchestrator.search import PRUNERS, SAMPLERS
from trainer.api import ConfigError, Problem, TrainingError, no_room

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Budgeted hyperparameter search: python -m orchestrator run trials.json --budget-epochs 5",
)

Trials = Annotated[
    Path, typer.Argument(help="trials file: a list of objects of dotted keys, or a mapping (JSON, YAML)")
]
Assignments = Annotated[list[str] | None, typer.Argument(help="key=value for every trial", show_default=False)]
StudyDir = Annotated[Path, typer.Argument(help="folder of a study, such as outputs/quickstart")]
Debug = Annotated[bool, typer.Option("--debug", help="show tracebacks")]
BaseConfig = Annotated[Path | None, typer.Option(help="configuration that trials change")]
StudyName = Annotated[str | None, typer.Option("--study", help="name of the study; default: the trials file's")]
OutputDir = Annotated[Path, typer.Option(help="where study folders lie")]
Seed = Annotated[int | None, typer.Option(help="seed of the study")]
BudgetEpochs = Annotated[int | None, typer.Option(help="epochs of a trial")]
BudgetSubset = Annotated[int | None, typer.Option(help="training images of a trial")]
BudgetSize = Annotated[int | None, typer.Option(help="image side of a trial in pixels")]
BudgetVal = Annotated[int | None, typer.Option("--budget-val-subset", help="validation images of a trial")]
Ladder = Annotated[
    str | None, typer.Option(help="rungs, such as 1x250@96,3x500@160,9x1000@224, or auto: from the budget")
]
Reduction = Annotated[int | None, typer.Option("--reduction-factor", help="of so many on a rung one goes on (3)")]
Sampler = Annotated[str | None, typer.Option(help=f"{', '.join(SAMPLERS)} (tpe); needs a search_space")]
NTrials = Annotated[int | None, typer.Option("--n-trials", help="trials of the whole study")]
Pruner = Annotated[str | None, typer.Option(help=f"{', '.join(PRUNERS)}; usual: median, on a ladder halving")]
Threshold = Annotated[
    float | None, typer.Option("--early-stop-threshold", help="a final metric worse than this is pruned")
]
Anchors = Annotated[
    float | None, typer.Option(help="share of the resting trials that go on by lot, to measure what a rung foretells")
]
Audit = Annotated[float | None, typer.Option(help="share of the pruned or resting trials that are trained to the end")]
Timeout = Annotated[str | None, typer.Option(help="time for the study, such as 90s, 30m, 2h")]
GpuHours = Annotated[float | None, typer.Option(help="slot-hours for the study")]
MaxFailures = Annotated[int | None, typer.Option(help="so many failed trials end the study (10)")]
CheckpointGb = Annotated[float | None, typer.Option(help="disk for checkpoints of trials that are over (20)")]
Stall = Annotated[
    str | None, typer.Option("--stall-timeout", help="a slice without progress for so long is killed (30m)")
]
Workers = Annotated[int | None, typer.Option(help="trials at a time; default: one per GPU, else per two cores")]
SlotsPerGpu = Annotated[int | None, typer.Option(help="trials at a time on one GPU (1), where --workers is not said")]
Threads = Annotated[int | None, typer.Option(help="CPU threads of a slot; default: its share of the cores")]
Storage = Annotated[str, typer.Option(help="database URL; default: study.db in the study's folder")]
Promote = Annotated[int | None, typer.Option(help="so many of the best are trained in full")]
PromoteSeeds = Annotated[int | None, typer.Option(help="in so many seeds each")]


def _request(
    trials: Trials,
    assignments: Assignments = None,
    base_config: BaseConfig = None,
    study: StudyName = None,
    output_dir: OutputDir = Path("outputs"),
    seed: Seed = None,
    budget_epochs: BudgetEpochs = None,
    budget_subset: BudgetSubset = None,
    budget_size: BudgetSize = None,
    budget_val_subset: BudgetVal = None,
    ladder: Ladder = None,
    reduction_factor: Reduction = None,
    n_trials: NTrials = None,
    sampler: Sampler = None,
    pruner: Pruner = None,
    early_stop_threshold: Threshold = None,
    anchors: Anchors = None,
    audit: Audit = None,
    timeout: Timeout = None,
    max_gpu_hours: GpuHours = None,
    max_failures: MaxFailures = None,
    max_checkpoint_gb: CheckpointGb = None,
    stall_timeout: Stall = None,
    workers: Workers = None,
    slots_per_gpu: SlotsPerGpu = None,
    threads_per_slot: Threads = None,
    storage: Storage = "",
    promote: Promote = None,
    promote_seeds: PromoteSeeds = None,
) -> Request:
    return Request(
        trials=trials,
        assignments=tuple(assignments or ()),
        base_config=base_config,
        study=study,
        output_dir=output_dir,
        seed=seed,
        budget=Budget(budget_epochs, budget_subset, budget_size, budget_val_subset),
        ladder=ladder,
        reduction_factor=reduction_factor,
        n_trials=n_trials,
        sampler=sampler,
        pruner=pruner,
        early_stop_threshold=early_stop_threshold,
        anchors=anchors,
        audit=audit,
        timeout=timeout,
        max_gpu_hours=max_gpu_hours,
        max_failures=max_failures,
        max_checkpoint_gb=max_checkpoint_gb,
        stall_timeout=stall_timeout,
        workers=workers,
        slots_per_gpu=slots_per_gpu,
        threads_per_slot=threads_per_slot,
        storage=storage,
        promote=promote,
        promote_seeds=promote_seeds,
    )


_EXTRAS: dict[str, dict[str, Any]] = {
    "run": {"force": typer.Option("--force", help="go on although the data changed")},
    "plan": {
        "json": typer.Option("--json", help="as JSON"),
        "measure": typer.Option("--measure", help="time a few steps on every rung for the estimate"),
    },
}


def _takes_request(work: Callable[[Request, Mapping[str, bool]], int], name: str, meaning: str) -> None:
    """Adds a command with the arguments of `_request`, so that `run` and `plan` cannot drift apart."""
    hints = typing.get_type_hints(_request, include_extras=True)
    hints.pop("return")

    def command(**values: Any) -> None:
        debug, extras = values.pop("debug"), {key: values.pop(key) for key in _EXTRAS[name]}
        _guarded(lambda: work(_request(**values), extras), debug)

    flags = {**{key: Annotated[bool, option] for key, option in _EXTRAS[name].items()}, "debug": Debug}
    own = list(inspect.signature(_request).parameters.values())
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
    debug: Debug = False,
) -> None:
    """Train the best trials at the full budget."""

    def work() -> int:
        from orchestrator import commands

        return commands.promote(study_dir.absolute(), top, seeds, _console())

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
