"""Every flag of `run` and `plan` with its help. Kinds and defaults are those of `Request`."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.planning.arguments import Request
from orchestrator.policies.table import POLICIES
from orchestrator.samplers.table import SAMPLERS
from orchestrator.slots.table import SLOTS

StudyDir = Annotated[Path, typer.Argument(help="folder of a study, such as outputs/quickstart")]
Debug = Annotated[bool, typer.Option("--debug", help="show tracebacks")]
ViewName = Annotated[
    str,
    typer.Option(
        "--view",
        help=(
            "what is shown: live, a table (default on a terminal); plain, a line per evaluation and decision; "
            "quiet, only warnings and failures; json, one JSON object per line on stdout"
        ),
    ),
]

# Field of `Request` → its flag; the first two are arguments.
FLAGS: dict[str, Any] = {
    "trials": typer.Argument(help="trials file: a list of objects of dotted keys, or a mapping (JSON, YAML)"),
    "assignments": typer.Argument(help="key=value for every trial", show_default=False),
    "base_config": typer.Option(help="configuration that all trials start from"),
    "study": typer.Option("--study", help="name of the study; default: the trials file's"),
    "output_dir": typer.Option(help="where study folders lie"),
    "seed": typer.Option(help="seed of the study"),
    "budget_epochs": typer.Option(help="epochs per trial"),
    "budget_subset": typer.Option(help="training images per trial"),
    "budget_size": typer.Option(help="image size of trials, in pixels"),
    "budget_val_subset": typer.Option("--budget-val-subset", help="validation images per trial"),
    "ladder": typer.Option(help="rungs, such as 1x250@96,3x500@160,9x1000@224; auto derives them from the budget"),
    "reduction_factor": typer.Option("--reduction-factor", help="the best 1/N of the trials on a rung continue (3)"),
    "n_trials": typer.Option("--n-trials", help="number of trials in the whole study"),
    "sampler": typer.Option(help=f"{', '.join(SAMPLERS)}; default: tpe; needs a search_space"),
    "pruner": typer.Option(help=f"{', '.join(POLICIES)}; default: median, on a ladder halving"),
    "early_stop_threshold": typer.Option(help="prune trials whose final metric is worse than this"),
    "anchors": typer.Option(help="share of trials that continue at random instead of pausing: measures the rungs"),
    "audit": typer.Option(help="share of trials that are trained to the end instead of paused or pruned"),
    "timeout": typer.Option(help="time limit of the study, such as 90s, 30m, 2h"),
    "max_gpu_hours": typer.Option(help="limit of the study in GPU-hours; without a GPU in slot-hours"),
    "max_failures": typer.Option(help="stop the study after this many failed trials (10)"),
    "max_checkpoint_gb": typer.Option(help="disk space for checkpoints of finished and paused trials (20)"),
    "stall_timeout": typer.Option(help="kill the process of a trial after this long without progress (30m)"),
    "workers": typer.Option(help="trials at the same time; default: one per GPU, or per two cores without a GPU"),
    "slots_per_gpu": typer.Option(help="trials at the same time on one GPU (1); ignored with --workers"),
    "threads_per_slot": typer.Option(help="CPU threads per slot; default: its share of the cores"),
    "slots": typer.Option("--slots", help=f"where trials run: {', '.join(SLOTS)}"),
    "storage": typer.Option(help="database URL; default: study.db in the study's folder"),
    "promote": typer.Option(help="train this many of the best trials at full budget"),
    "promote_seeds": typer.Option(help="number of seeds for each promoted trial"),
}


class Start(StrEnum):
    """Where a promoted run starts."""

    scratch = "scratch"
    checkpoint = "checkpoint"


def request_parameters() -> list[inspect.Parameter]:
    """A parameter of a command for every field of `Request`."""
    kinds = typing.get_type_hints(Request)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=Annotated[kinds[field.name], FLAGS[field.name]],
        )
        for field in dataclasses.fields(Request)
    ]
