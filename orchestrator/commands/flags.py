"""Every flag of `run` and `plan` with its kind and its help."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.planning.arguments import Request
from orchestrator.policies.table import POLICIES
from orchestrator.samplers.table import SAMPLERS
from orchestrator.slots.table import SLOTS
from orchestrator.slots.table import USUAL as USUAL_SLOTS
from orchestrator.study.ladder import Budget

Trials = Annotated[
    Path, typer.Argument(help="trials file: a list of objects of dotted keys, or a mapping (JSON, YAML)")
]
Assignments = Annotated[list[str] | None, typer.Argument(help="key=value for every trial", show_default=False)]
StudyDir = Annotated[Path, typer.Argument(help="folder of a study, such as outputs/quickstart")]
Debug = Annotated[bool, typer.Option("--debug", help="show tracebacks")]
ViewName = Annotated[
    str,
    typer.Option(
        "--view",
        help=(
            "what is shown: live, a table, usual on a terminal; plain, a line for each evaluation and decision; "
            "quiet, only warnings and failures; json, one object a line on stdout"
        ),
    ),
]
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
Pruner = Annotated[str | None, typer.Option(help=f"{', '.join(POLICIES)}; usual: median, on a ladder halving")]
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
Kind = Annotated[str, typer.Option("--slots", help=f"where trials run: {', '.join(SLOTS)}")]
Storage = Annotated[str, typer.Option(help="database URL; default: study.db in the study's folder")]
Promote = Annotated[int | None, typer.Option(help="so many of the best are trained in full")]
PromoteSeeds = Annotated[int | None, typer.Option(help="in so many seeds each")]


class Start(StrEnum):
    """Where a promoted run starts."""

    scratch = "scratch"
    checkpoint = "checkpoint"


def request_of(
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
    slots: Kind = USUAL_SLOTS,
    storage: Storage = "",
    promote: Promote = None,
    promote_seeds: PromoteSeeds = None,
) -> Request:
    """The request of a command line; the parameters are the flags of `run` and `plan`."""
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
        slots=slots,
        storage=storage,
        promote=promote,
        promote_seeds=promote_seeds,
    )
